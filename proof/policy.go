package proof

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a policy. C2SP wants at least 32 logs, 32 witnesses and 32 groups.
const (
	MaxPolicy        = 1 << 20 // bytes of a policy file
	maxPolicyEntries = 4096    // logs, witnesses and groups together
)

// Policy says which checkpoints somebody accepts: those that one of its logs has
// signed and enough of its witnesses have cosigned. It is a C2SP tlog-policy file:
//
//	# a comment has a line of its own
//	log <vkey> [<url>]
//	witness <name> <vkey> [<url>]
//	group <name> all|any|<k> <member> …     so many of the members
//	quorum <name>|none                      exactly one such line
//
// Each line ends with a line feed. Its words are parted by spaces and tabs, which
// may also stand before and behind them; lines without words are passed over. A
// member is a witness or a group of a line above, and so is the quorum. Names have
// no meaning outside of the file. A Policy is immutable.
type Policy struct {
	logs []PolicyLog
	// nodes are the witnesses and groups in the order of their lines. A node's
	// members stand before it, and no node is a member twice: they are trees.
	nodes []policyNode
	// quorum is the node that must have signed, noQuorum for none.
	quorum int
}

const (
	noQuorum   = -1
	quorumNone = "none"
)

// PolicyLog is a log of a policy.
type PolicyLog struct {
	// Key is the log's Ed25519 key. Its name is the log's origin.
	Key VKey
	// URL is what stands behind the key, "" if nothing does. It is not checked.
	URL string
}

// PolicyWitness is a witness of a policy.
type PolicyWitness struct {
	// Name is the witness's name in the file; Key has one of its own.
	Name string
	// Key is of type 4 or 6.
	Key VKey
	// URL is what stands behind the key, "" if nothing does. It is not checked.
	URL string
	// Counts: the witness is below the quorum. The cosignature of another one must
	// be right if it is there, and changes nothing.
	Counts bool
}

// policyNode is a witness or a group.
type policyNode struct {
	name string
	// witness is the witness, of which Name is name; nil for a group.
	witness *PolicyWitness
	// need is how many of a group's members must have signed: 1 … len(members).
	need    int
	members []int // indexes of nodes
}

// Logs returns the logs in the order of their lines, at least one.
func (p *Policy) Logs() []PolicyLog { return slices.Clone(p.logs) }

// Witnesses returns the witnesses in the order of their lines.
func (p *Policy) Witnesses() []PolicyWitness {
	var out []PolicyWitness
	for _, n := range p.nodes {
		if n.witness != nil {
			out = append(out, *n.witness)
		}
	}
	return out
}

// Quorum returns the name of the witness or group that must have signed; ok is
// false if none need.
func (p *Policy) Quorum() (name string, ok bool) {
	if p.quorum == noQuorum {
		return "", false
	}
	return p.nodes[p.quorum].name, true
}

// ParsePolicy parses a policy file. Errors wrap ErrFormat, or ErrUnknownVersion
// for a key of an unknown type, and name the line.
//
// Where the specification leaves it open, this is strict. A log's key is of type 1:
// a log that signs with another kind only is not for this program. There is a log:
// a policy without one accepts nothing. `none` names no witness and no group. The
// number of a group has no leading zero and no sign. No two keys have the same name
// and id, which would make it unclear whose a signature is. The last line ends like
// the others: a file that was cut could mean something else.
func ParsePolicy(text []byte) (*Policy, error) {
	if len(text) > MaxPolicy {
		return nil, fmt.Errorf("%w policy: %d bytes, wanted at most %d", ErrFormat, len(text), MaxPolicy)
	}
	r := policyReader{
		policy: &Policy{quorum: noQuorum}, names: map[string]int{}, parents: map[int]int{},
		keys: map[string]int{}, logs: map[string]int{}, witnesses: map[string]int{},
	}
	for rest := text; len(rest) > 0; {
		line, behind, ok := cutLine(rest)
		r.line++
		if !ok {
			return nil, fmt.Errorf("%w policy: line %d, %s, does not end with a line feed: is the file whole?", ErrFormat, r.line, quoteLine(line))
		}
		if err := r.read(line); err != nil {
			return nil, err
		}
		rest = behind
	}
	switch {
	case len(r.policy.logs) == 0:
		return nil, fmt.Errorf("%w policy: no `log` in %d lines, wanted at least one", ErrFormat, r.line)
	case r.quorumLine == 0:
		return nil, fmt.Errorf("%w policy: no `quorum` in %d lines, wanted one; `quorum none` asks for no witness", ErrFormat, r.line)
	}
	r.policy.markQuorum()
	return r.policy, nil
}

// policyReader builds a policy line by line. The maps give the line, from 1, on
// which something was seen.
type policyReader struct {
	policy     *Policy
	line       int
	quorumLine int            // 0: none yet
	names      map[string]int // index of the node with a name, not a line
	parents    map[int]int    // by index of a node: the group that it is a member of
	keys       map[string]int // by name and id
	logs       map[string]int // by public key
	witnesses  map[string]int // by public key
}

// read takes one line without its line feed.
func (r *policyReader) read(line []byte) error {
	for _, c := range line {
		if c != '\t' && (c < 0x20 || c == 0x7f) {
			return r.fail(line, "byte 0x%02x, wanted tabs, 0x20-0x7e and 0x80-0xff; a line ends with a line feed alone", c)
		}
	}
	words := bytes.FieldsFunc(line, func(c rune) bool { return c == ' ' || c == '\t' })
	if len(words) == 0 || words[0][0] == '#' {
		return nil
	}
	if bytes.Contains(line, []byte(skeyPrefix)) {
		return r.fail(line, "a signing key, which belongs to its holder alone; wanted the verifier key beside it")
	}
	if len(r.policy.logs)+len(r.policy.nodes) == maxPolicyEntries && string(words[0]) != "quorum" {
		return r.fail(line, "more than %d logs, witnesses and groups", maxPolicyEntries)
	}
	switch string(words[0]) {
	case "log":
		return r.log(line, words)
	case "witness":
		return r.witness(line, words)
	case "group":
		return r.group(line, words)
	case "quorum":
		return r.quorum(line, words)
	}
	return r.fail(line, "wanted `log`, `witness`, `group`, `quorum` or a comment")
}

// fail returns an error that names the last line read and quotes it.
func (r *policyReader) fail(line []byte, format string, args ...any) error {
	return fmt.Errorf("%w policy: line %d, %s: %s", ErrFormat, r.line, quoteLine(line), fmt.Sprintf(format, args...))
}

// quoteLine quotes a line for an error message unless it holds a signing key.
func quoteLine(line []byte) string {
	if bytes.Contains(line, []byte(skeyPrefix)) {
		return "which is not quoted"
	}
	return clip(line)
}

func (r *policyReader) log(line []byte, words [][]byte) error {
	if len(words) < 2 || len(words) > 3 {
		return r.fail(line, "%d words, wanted `log VKEY [URL]`; a comment has a line of its own", len(words))
	}
	key, err := r.key(line, words[1], r.logs, TypeEd25519)
	if err != nil {
		return err
	}
	l := PolicyLog{Key: key}
	if len(words) > 2 {
		l.URL = string(words[2])
	}
	r.policy.logs = append(r.policy.logs, l)
	return nil
}

func (r *policyReader) witness(line []byte, words [][]byte) error {
	if len(words) < 3 || len(words) > 4 {
		return r.fail(line, "%d words, wanted `witness NAME VKEY [URL]`; a comment has a line of its own", len(words))
	}
	key, err := r.key(line, words[2], r.witnesses, TypeCosignEd25519, TypeMLDSA44)
	if err != nil {
		return err
	}
	w := &PolicyWitness{Name: string(words[1]), Key: key}
	if len(words) > 3 {
		w.URL = string(words[3])
	}
	return r.add(line, policyNode{name: w.Name, witness: w})
}

// key parses a key of one of the wanted types. seen holds the public keys of the
// lines of the same kind: a second one would count the same witness twice. A log
// and a witness may have one public key; whoever writes that down wants it.
func (r *policyReader) key(line, word []byte, seen map[string]int, types ...byte) (VKey, error) {
	k, err := ParseVKey(string(word))
	if err != nil {
		return VKey{}, fmt.Errorf("proof: policy: line %d, %s: %w", r.line, quoteLine(line), err)
	}
	if !slices.Contains(types, k.typ) {
		return VKey{}, r.fail(line, "the key %s has type %d, wanted %s", k.KeyName(), k.typ, typeList(types))
	}
	if at, twice := seen[string(k.public)]; twice {
		return VKey{}, r.fail(line, "the public key of line %d again, wanted another", at)
	}
	if at, twice := r.keys[k.KeyName()]; twice {
		return VKey{}, r.fail(line, "the key's name and id, %s, are those of line %d, wanted others", k.KeyName(), at)
	}
	seen[string(k.public)], r.keys[k.KeyName()] = r.line, r.line
	return k, nil
}

// add appends a witness or a group under its name.
func (r *policyReader) add(line []byte, n policyNode) error {
	if n.name == quorumNone {
		return r.fail(line, "`none` means no quorum, wanted another name")
	}
	if at, twice := r.names[n.name]; twice {
		return r.fail(line, "a second %s, wanted another name", clip([]byte(r.policy.nodes[at].name)))
	}
	r.names[n.name] = len(r.policy.nodes)
	r.policy.nodes = append(r.policy.nodes, n)
	return nil
}

func (r *policyReader) group(line []byte, words [][]byte) error {
	if len(words) < 4 {
		return r.fail(line, "%d words, wanted `group NAME all|any|K MEMBER …`", len(words))
	}
	n := policyNode{name: string(words[1])}
	names := words[3:]
	switch need := string(words[2]); need {
	case "any":
		n.need = 1
	case "all":
		n.need = len(names)
	default:
		k, ok := parseDecimal(words[2], uint64(len(names)))
		if !ok || k == 0 {
			return r.fail(line, "%s of %d members, wanted `all`, `any` or 1 to %d", clip(words[2]), len(names), len(names))
		}
		n.need = int(k)
	}
	for _, name := range names {
		m, known := r.names[string(name)]
		if !known {
			return r.fail(line, "member %s, wanted a witness or a group of a line above", clip(name))
		}
		if parent, taken := r.parents[m]; taken {
			in := "this group"
			if parent < len(r.policy.nodes) {
				in = "group " + clip([]byte(r.policy.nodes[parent].name))
			}
			return r.fail(line, "member %s is in %s already, wanted each in one group", clip(name), in)
		}
		r.parents[m] = len(r.policy.nodes) // where this group will be
		n.members = append(n.members, m)
	}
	return r.add(line, n)
}

func (r *policyReader) quorum(line []byte, words [][]byte) error {
	if len(words) != 2 {
		return r.fail(line, "%d words, wanted `quorum NAME` or `quorum none`; a comment has a line of its own", len(words))
	}
	if r.quorumLine > 0 {
		return r.fail(line, "a second quorum, the first is on line %d", r.quorumLine)
	}
	r.quorumLine = r.line
	if string(words[1]) == quorumNone {
		return nil
	}
	at, known := r.names[string(words[1])]
	if !known {
		return r.fail(line, "wanted a witness or a group of a line above, or `none`")
	}
	r.policy.quorum = at
	return nil
}

// markQuorum finds the witnesses that count: members stand before their groups.
func (p *Policy) markQuorum() {
	if p.quorum == noQuorum {
		return
	}
	below := make([]bool, p.quorum+1)
	below[p.quorum] = true
	for i := p.quorum; i >= 0; i-- {
		if !below[i] {
			continue
		}
		for _, m := range p.nodes[i].members {
			below[m] = true
		}
		if w := p.nodes[i].witness; w != nil {
			w.Counts = true
		}
	}
}

// check returns an error that wraps ErrQuorum unless enough witnesses have signed.
// The signatures in the note are verified already.
func (p *Policy) check(n Note, c Checkpoint) error {
	if p.quorum == noQuorum {
		return nil
	}
	met := make([]bool, len(p.nodes))
	var signed []string
	for i, node := range p.nodes {
		if w := node.witness; w != nil {
			met[i] = slices.ContainsFunc(n.Sigs, func(s NoteSignature) bool { return s.Name == w.Key.name && s.ID == w.Key.id })
			if met[i] && w.Counts {
				signed = append(signed, clip([]byte(w.Name)))
			}
			continue
		}
		have := 0
		for _, m := range node.members {
			if met[m] {
				have++
			}
		}
		met[i] = have >= node.need
	}
	if met[p.quorum] {
		return nil
	}
	by := "none of its witnesses"
	if len(signed) > 0 {
		by = someOf(signed, ", ")
	}
	var missing strings.Builder
	p.missing(&missing, p.quorum, met)
	return fmt.Errorf("%w: the checkpoint of %q at size %d is cosigned by %s; missing: %s", ErrQuorum, c.Origin, c.Size, by, missing.String())
}

// missing writes what a node that is not met lacks, as in `2 more of "g" ("a",
// "b", 1 more of "h" ("c", "d"))`. It stops when that gets long.
func (p *Policy) missing(b *strings.Builder, at int, met []bool) {
	const most = 512
	n := p.nodes[at]
	if n.witness != nil {
		b.WriteString(clip([]byte(n.name)))
		return
	}
	lacks := n.need
	for _, m := range n.members {
		if met[m] {
			lacks--
		}
	}
	fmt.Fprintf(b, "%d more of %s (", lacks, clip([]byte(n.name)))
	comma := ""
	for _, m := range n.members {
		if met[m] {
			continue
		}
		b.WriteString(comma)
		if b.Len() > most {
			b.WriteString("…")
			break
		}
		p.missing(b, m, met)
		comma = ", "
	}
	b.WriteByte(')')
}

// someOf joins names for a message, not all of very many.
func someOf(names []string, sep string) string {
	const most = 16
	if left := len(names) - most; left > 0 {
		names = append(slices.Clone(names[:most]), strconv.Itoa(left)+" others")
	}
	return strings.Join(names, sep)
}
