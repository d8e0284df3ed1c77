package proof

import (
	"crypto/ed25519"
	"fmt"
	"math"
	"slices"
	"strconv"

	"graven/merkle"
	"graven/record"
)

// MaxSize is the greatest size of a checkpoint: a size is at most 2^63-1 in C2SP.
const MaxSize = math.MaxInt64

// Checkpoint is what a log says about itself at one size:
//
//	example.com/log                                  origin
//	1234                                             size, decimal
//	CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=      root, base64
//
// There are no extension lines.
type Checkpoint struct {
	// Origin names the log; see ValidOrigin.
	Origin string
	// Size is the number of records, 0 … MaxSize.
	Size uint64
	// Root is the RFC 6962 root over the first Size records; merkle.EmptyRoot at
	// size 0.
	Root merkle.Hash
}

// Text returns the three lines that a log's key signs. It does not check the
// fields.
func (c Checkpoint) Text() []byte {
	out := append([]byte(c.Origin), '\n')
	out = strconv.AppendUint(out, c.Size, 10)
	out = append(out, '\n')
	out = append(out, c.Root.String()...)
	return append(out, '\n')
}

// check reports the first rule that the checkpoint breaks, or "".
func (c Checkpoint) check() string {
	if err := record.CheckOrigin(c.Origin); err != nil {
		return err.Error()
	}
	if c.Size > MaxSize {
		return fmt.Sprintf("size %d, wanted at most %d", c.Size, uint64(MaxSize))
	}
	if empty := merkle.EmptyRoot(); c.Size == 0 && c.Root != empty {
		return fmt.Sprintf("size 0 with root %s, wanted %s", c.Root, empty)
	}
	return ""
}

// ParseCheckpointText parses the three lines of a checkpoint, and nothing else.
// Errors wrap ErrFormat.
func ParseCheckpointText(text []byte) (Checkpoint, error) {
	var lines [3][]byte
	rest, ok := text, false
	for i := range lines {
		if lines[i], rest, ok = cutLine(rest); !ok {
			return Checkpoint{}, fmt.Errorf("%w checkpoint: %d lines, wanted 3: origin, size, root", ErrFormat, i)
		}
	}
	if len(rest) > 0 {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: %s behind the third line, wanted nothing", ErrFormat, clip(rest))
	}
	size, ok := parseDecimal(lines[1], MaxSize)
	if !ok {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: size %s, wanted a decimal number up to %d", ErrFormat, clip(lines[1]), uint64(MaxSize))
	}
	root, err := merkle.ParseHash(string(lines[2]))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: root %s: %s", ErrFormat, clip(lines[2]), err)
	}
	c := Checkpoint{Origin: string(lines[0]), Size: size, Root: root}
	if wrong := c.check(); wrong != "" {
		return Checkpoint{}, fmt.Errorf("%w checkpoint: %s", ErrFormat, wrong)
	}
	return c, nil
}

// Signer signs checkpoints with a log's Ed25519 key. It is safe for concurrent
// use.
//
// It signs whatever it is given. That a log never signs two roots for one size,
// nor a size that a crash could undo, is the caller's part.
type Signer struct {
	key *secret
}

// NewSigner parses a log's signing key (Ed25519). Errors wrap ErrFormat or
// ErrUnknownVersion and never quote the key.
func NewSigner(skey string) (*Signer, error) {
	key, err := parseSecret(skey, TypeEd25519)
	if err != nil {
		return nil, err
	}
	return &Signer{key: key}, nil
}

// VKey returns the text of the verifier key.
func (s *Signer) VKey() string { return s.key.vkey.String() }

// Origin returns the key's name, the only origin that it signs for.
func (s *Signer) Origin() string { return s.key.vkey.name }

// SignCheckpoint returns the checkpoint as a signed note with one signature. The
// same checkpoint gives the same bytes. It fails with ErrInvalid if c is no valid
// checkpoint, or with ErrOrigin if it is of another origin.
func (s *Signer) SignCheckpoint(c Checkpoint) ([]byte, error) {
	if wrong := c.check(); wrong != "" {
		return nil, fmt.Errorf("%w checkpoint: %s", ErrInvalid, wrong)
	}
	if c.Origin != s.Origin() {
		return nil, fmt.Errorf("%w: the key signs for %q, the checkpoint is of %q", ErrOrigin, s.Origin(), c.Origin)
	}
	text := c.Text()
	sig := NoteSignature{Name: s.Origin(), ID: s.key.vkey.id, Sig: ed25519.Sign(s.key.ed, text)}
	return Note{Text: text, Sigs: []NoteSignature{sig}}.Bytes(), nil
}

// OpenCheckpoint parses a signed note and returns the checkpoint in it if its log
// has signed it: one of the Ed25519 keys among vkeys that are named by the
// checkpoint's origin. A caller knows a log by one such key, or by several if it
// changed them. vkeys may also hold keys of cosigners, of types 4 and 6; their
// signatures are checked, and no cosignature replaces the log's.
//
// Signatures of unknown keys are ignored. A signature of a known key (by name and
// id) that does not verify spoils the whole note, and so does a second signature
// of a known key. Errors wrap ErrFormat, ErrOrigin or ErrSignature.
func OpenCheckpoint(note []byte, vkeys ...VKey) (Checkpoint, error) {
	c, _, err := openCheckpoint(note, vkeys)
	return c, err
}

// openCheckpoint is OpenCheckpoint, and returns the parsed note as well. Each
// signature in it of a key among vkeys is verified.
func openCheckpoint(note []byte, vkeys []VKey) (Checkpoint, Note, error) {
	n, err := ParseNote(note)
	if err != nil {
		return Checkpoint{}, Note{}, err
	}
	c, err := ParseCheckpointText(n.Text)
	if err != nil {
		return Checkpoint{}, Note{}, err
	}
	var wanted []string // the log's keys, for the message
	signed := false
	for i, k := range vkeys {
		if slices.ContainsFunc(vkeys[:i], k.equal) {
			continue
		}
		has, err := n.signedBy(c, k)
		if err != nil {
			return Checkpoint{}, Note{}, err
		}
		if k.typ == TypeEd25519 && k.name == c.Origin {
			wanted = append(wanted, k.KeyName())
			signed = signed || has
		}
	}
	if len(wanted) == 0 {
		return Checkpoint{}, Note{}, fmt.Errorf("%w: the checkpoint is of %q, wanted %s", ErrOrigin, c.Origin, logNames(vkeys))
	}
	if !signed {
		return Checkpoint{}, Note{}, fmt.Errorf("%w: none of the log's key %s", ErrSignature, someOf(wanted, " or "))
	}
	return c, n, nil
}

// logNames lists the origins that the keys stand for.
func logNames(vkeys []VKey) string {
	var names []string
	for _, k := range vkeys {
		if name := strconv.Quote(k.name); k.typ == TypeEd25519 && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return "one that an Ed25519 key is known for, and none is"
	}
	return someOf(names, " or ")
}

// signedBy reports whether k has signed the note, whose text is c. It is an error
// if k's signature does not verify or stands there twice.
func (n Note) signedBy(c Checkpoint, k VKey) (bool, error) {
	signed := false
	for _, s := range n.Sigs {
		if s.Name != k.name || s.ID != k.id {
			continue
		}
		if signed {
			return false, fmt.Errorf("%w note: two signatures of %s", ErrFormat, k.KeyName())
		}
		if !k.verify(n.Text, c, s.Sig) {
			return false, fmt.Errorf("%w: that of %s does not match the checkpoint of %q at size %d", ErrSignature, k.KeyName(), c.Origin, c.Size)
		}
		signed = true
	}
	return signed, nil
}
