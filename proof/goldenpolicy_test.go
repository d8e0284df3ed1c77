package proof

import (
	"strings"
	"testing"
)

type goldenPolicy struct {
	Name   string `json:"name"`
	Policy string `json:"policy"`
	Note   string `json:"note"`
	Want   string `json:"want"`

	Origin   string           `json:"origin,omitempty"`
	Size     uint64           `json:"size,omitempty"`
	Cosigned []goldenCosigned `json:"cosigned,omitempty"`
}

type goldenCosigned struct {
	VKey string `json:"vkey"`
	Time uint64 `json:"time"`
}

func TestGoldenPolicies(t *testing.T) {
	k := newPolicyKeys(t)
	c := sampleCheckpoint()
	moved := c
	moved.Size++
	other := Checkpoint{Origin: "example.com/other", Size: c.Size, Root: c.Root}
	third := Checkpoint{Origin: "example.com/third", Size: c.Size, Root: c.Root}
	const two = "# two of three\nlog $L1 https://log.example/\nlog $L2\nlog $L3\nwitness a $W1 https://a.example/\nwitness b $W2\nwitness c $W3\ngroup g 2 a b c\nquorum g\n"
	const nested = "log $L1\nwitness a $W1\nwitness b $W3\nwitness c $W5\ngroup g any a b\ngroup h all g c\nquorum h\n"
	const one = "log $L1\nwitness a $W1\nquorum a\n"
	const none = "log $L1\nquorum none\n"
	sign := func(c Checkpoint, logs []int, witnesses ...int) string { return string(k.sign(t, c, logs, witnesses)) }
	late := strings.TrimPrefix(sign(moved, []int{1}, 1), sign(moved, []int{1}))
	plain := sign(c, []int{1})
	var made []goldenPolicy
	add := func(name, policy, note string) {
		made = append(made, goldenPolicy{Name: name, Policy: string(k.text(policy)), Note: note})
	}
	add("two of three", two, sign(c, []int{1}, 1, 2))
	add("the other key of the log", two, sign(c, []int{2}, 3, 1))
	add("both keys of the log", two, sign(c, []int{1, 2}, 1, 3))
	add("the other log", two, sign(other, []int{3}, 1, 3))
	add("one of three", two, sign(c, []int{1}, 1))
	add("one of three and a stranger", two, sign(c, []int{1}, 1, 5))
	add("none of three", two, plain)
	add("not the log", two, sign(c, nil, 1, 2))
	add("the key of the other log", two, sign(c, []int{3}, 1, 3))
	add("a log that is not there", two, sign(third, []int{1}, 1, 3))
	add("nested", nested, sign(c, []int{1}, 3, 5))
	add("nested, one group", nested, sign(c, []int{1}, 1, 3))
	add("a single witness", one, sign(c, []int{1}, 1))
	add("a single witness, another signed", one, sign(c, []int{1}, 3))
	add("a cosignature of another size", one, plain+late)
	add("a cosignature twice", one, sign(c, []int{1}, 1)+strings.TrimPrefix(sign(c, []int{1}, 1), plain))
	add("no witness asked for", none, plain)
	add("no witness asked for, not the log", none, sign(c, nil))
	add("words as names", "log $L1\nwitness all $W1\ngroup any any all\nquorum any\n", sign(c, []int{1}, 1))
	add("spaces, tabs, comments", " \t# first\n\tlog \t $L1 \n\n \t\n#last\nquorum\tnone\t\n", plain)
	add("a witness below that does not count", one+"witness b $W3\n", sign(c, []int{1}, 1, 3))
	for _, bad := range []struct{ name, policy string }{
		{"no log", "witness a $W1\nquorum a\n"},
		{"no quorum", "log $L1\nwitness a $W1\n"},
		{"two quorums", one + "quorum none\n"},
		{"cut off", strings.TrimSuffix(one, "\n")},
		{"CRLF", strings.ReplaceAll(one, "\n", "\r\n")},
		{"a comment behind words", "log $L1\nquorum none # yet\n"},
		{"a witness's key as a log's", "log $W1\nquorum none\n"},
		{"a log's key as a witness's", "log $L1\nwitness a $L2\nquorum a\n"},
		{"a witness twice under two names", "log $L1\nwitness a $W1\nwitness b $AGAIN\ngroup g 2 a b\nquorum g\n"},
		{"a log twice under two names", "log $L1\nlog $MOVED\nquorum none\n"},
		{"a name twice", "log $L1\nwitness a $W1\nwitness a $W3\nquorum a\n"},
		{"a witness called none", "log $L1\nwitness none $W1\nquorum none\n"},
		{"a member twice", "log $L1\nwitness a $W1\ngroup g 2 a a\nquorum g\n"},
		{"a member of two groups", "log $L1\nwitness a $W1\nwitness b $W3\ngroup g any a\ngroup h any a b\nquorum h\n"},
		{"a member of a line below", "log $L1\ngroup g any a\nwitness a $W1\nquorum g\n"},
		{"0 of 1", "log $L1\nwitness a $W1\ngroup g 0 a\nquorum g\n"},
		{"01 of 1", "log $L1\nwitness a $W1\ngroup g 01 a\nquorum g\n"},
		{"2 of 1", "log $L1\nwitness a $W1\ngroup g 2 a\nquorum g\n"},
		{"a quorum of a line below", "log $L1\nquorum a\nwitness a $W1\n"},
		{"unknown word", one + "mirror m $W3\n"},
	} {
		add("policy: "+bad.name, bad.policy, sign(c, []int{1}, 1))
	}
	for i := range made {
		fillGoldenPolicy(&made[i])
	}
	wants := map[string]int{}
	for _, g := range goldenFile(t, "policies.json", made) {
		again := goldenPolicy{Name: g.Name, Policy: g.Policy, Note: g.Note}
		fillGoldenPolicy(&again)
		if diff := goldenDiff(again, g); diff != "" {
			t.Error(diff)
		}
		wants[g.Want]++
		if strings.HasPrefix(g.Name, "policy: ") && g.Want != "malformed" {
			t.Errorf("%s: want %s", g.Name, g.Want)
		}
	}
	if wants["ok"] < 9 || wants["quorum"] < 5 || wants["signature"] < 4 || wants["origin"] < 1 || wants["malformed"] < 21 {
		t.Errorf("outcomes %v", wants)
	}
}

// fillGoldenPolicy judges the note by the policy and writes down what came out.
func fillGoldenPolicy(g *goldenPolicy) {
	p, err := ParsePolicy([]byte(g.Policy))
	if err != nil {
		g.Want = goldenWant(err)
		return
	}
	r, err := NewPolicyVerifier(p).open([]byte(g.Note))
	if g.Want = goldenWant(err); err != nil {
		return
	}
	g.Origin, g.Size = r.checkpoint.Origin, r.checkpoint.Size
	for _, c := range r.Cosigners() {
		g.Cosigned = append(g.Cosigned, goldenCosigned{VKey: c.Key.String(), Time: c.Seconds})
	}
}
