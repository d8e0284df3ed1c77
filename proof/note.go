package proof

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"unicode"
	"unicode/utf8"
)

// Bounds of a signed note. C2SP wants at least 16 signatures; one of ML-DSA-44
// takes about 3,500 bytes.
const (
	MaxNote       = 512 << 10 // bytes of a whole note
	MaxSignatures = 100       // signature lines in a note
)

// Note is a C2SP signed note:
//
//	<text: one or more lines>
//	                                            an empty line
//	— <name> <b64(key id (4) ‖ signature)>      U+2014, one line a signature
//
// The text ends with its line feed and is what an Ed25519 key signs. Nothing in a
// Note is verified yet.
type Note struct {
	Text []byte
	Sigs []NoteSignature
}

// NoteSignature is one signature line: who is said to have signed (the key's name
// and id) and the signature's bytes without the id, at least one.
type NoteSignature struct {
	Name string
	ID   uint32
	Sig  []byte
}

const sigPrefix = "— "

// ParseNote parses a signed note strictly: valid UTF-8, no control character below
// U+0020 but line feeds, 1 to MaxSignatures signature lines, names as C2SP wants
// them, canonical base64. What it accepts, Bytes spells the same way. The note's
// slices are the caller's own. Errors wrap ErrFormat and name the line.
func ParseNote(b []byte) (Note, error) {
	if len(b) > MaxNote {
		return Note{}, fmt.Errorf("%w note: %d bytes, wanted at most %d", ErrFormat, len(b), MaxNote)
	}
	for i := 0; i < len(b); {
		r, size := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && size <= 1 {
			return Note{}, fmt.Errorf("%w note: byte %d is not UTF-8", ErrFormat, i)
		}
		if r < 0x20 && r != '\n' {
			return Note{}, fmt.Errorf("%w note: control character %U at byte %d", ErrFormat, r, i)
		}
		i += size
	}
	// The text may hold empty lines, the signatures not: the last one parts them.
	split := bytes.LastIndex(b, []byte("\n\n"))
	if split < 0 {
		return Note{}, fmt.Errorf("%w note: no empty line before the signatures", ErrFormat)
	}
	n := Note{Text: bytes.Clone(b[:split+1])}
	line := bytes.Count(n.Text, []byte{'\n'}) + 2
	for rest := b[split+2:]; len(rest) > 0; line++ {
		one, behind, ok := cutLine(rest)
		if !ok {
			return Note{}, fmt.Errorf("%w note: line %d does not end with a line feed", ErrFormat, line)
		}
		if len(n.Sigs) == MaxSignatures {
			return Note{}, fmt.Errorf("%w note: more than %d signatures", ErrFormat, MaxSignatures)
		}
		sig, err := parseSignature(one)
		if err != nil {
			return Note{}, fmt.Errorf("%w note: line %d, %s: %s", ErrFormat, line, clip(one), err)
		}
		n.Sigs = append(n.Sigs, sig)
		rest = behind
	}
	if len(n.Sigs) == 0 {
		return Note{}, fmt.Errorf("%w note: no signature", ErrFormat)
	}
	return n, nil
}

// parseSignature parses one signature line without its line feed.
func parseSignature(line []byte) (NoteSignature, error) {
	rest, ok := bytes.CutPrefix(line, []byte(sigPrefix))
	if !ok {
		return NoteSignature{}, errors.New("a signature begins with U+2014 and a space")
	}
	name, sig64, ok := bytes.Cut(rest, []byte{' '})
	if !ok || !validNoteName(name) {
		return NoteSignature{}, errors.New("wanted a key's name, a space and base64")
	}
	raw, ok := decodeB64(sig64)
	if !ok {
		return NoteSignature{}, errors.New("what follows the name is not canonical base64")
	}
	if len(raw) <= keyIDSize {
		return NoteSignature{}, fmt.Errorf("%d bytes of key id and signature, wanted more than %d", len(raw), keyIDSize)
	}
	return NoteSignature{
		Name: string(name),
		ID:   binary.BigEndian.Uint32(raw),
		Sig:  raw[keyIDSize:],
	}, nil
}

// validNoteName is the rule of C2SP for names of keys that need not be ours: not
// empty, no Unicode space, no `+`. That they are UTF-8 was checked for the note.
func validNoteName(name []byte) bool {
	return len(name) > 0 && bytes.IndexByte(name, '+') < 0 && bytes.IndexFunc(name, unicode.IsSpace) < 0
}

// Bytes returns the note as it is sent and stored. It does not check it.
func (n Note) Bytes() []byte {
	out := append(bytes.Clone(n.Text), '\n')
	for _, s := range n.Sigs {
		out = s.append(out)
	}
	return out
}

func (s NoteSignature) append(dst []byte) []byte {
	dst = append(dst, sigPrefix...)
	dst = append(dst, s.Name...)
	dst = append(dst, ' ')
	raw := binary.BigEndian.AppendUint32(make([]byte, 0, keyIDSize+len(s.Sig)), s.ID)
	dst = b64.AppendEncode(dst, append(raw, s.Sig...))
	return append(dst, '\n')
}

// SignedBy returns a signed note with the signatures of one key only, which there
// must be one of. It verifies nothing. Errors wrap ErrFormat or ErrSignature.
func SignedBy(note []byte, key VKey) ([]byte, error) {
	n, err := ParseNote(note)
	if err != nil {
		return nil, err
	}
	only := Note{Text: n.Text}
	for _, s := range n.Sigs {
		if s.Name == key.name && s.ID == key.id {
			only.Sigs = append(only.Sigs, s)
		}
	}
	if len(only.Sigs) == 0 {
		return nil, fmt.Errorf("%w: none of %s", ErrSignature, key.KeyName())
	}
	return only.Bytes(), nil
}
