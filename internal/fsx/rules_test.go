package fsx

import (
	"strings"
	"testing"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		pattern string
		yes, no string
	}{
		{"checkpoint", "checkpoint", "checkpoint2 a/checkpoint checkpoint/a"},
		{"log/log-*.jsonl", "log/log-0.jsonl log/log-.jsonl", "log/log-0 log/log-a/b.jsonl log/xlog-0.jsonl log log/a/log-0.jsonl"},
		{"a/*", "a/b a/.b", "a a/b/c b/a"},
		{"a/*/*.blk", "a/b/c.blk", "a/b.blk a/b/c/d.blk a/b/c"},
		{"tile/**", "tile/0 tile/0/1 tile/0/x001/234", "tile tiles/0 a/tile/0"},
	} {
		for _, name := range strings.Fields(c.yes) {
			if !match(c.pattern, name) {
				t.Errorf("%s does not match %s", c.pattern, name)
			}
		}
		for _, name := range strings.Fields(c.no) {
			if match(c.pattern, name) {
				t.Errorf("%s matches %s", c.pattern, name)
			}
		}
	}
}

// Every path of the format, with all that may happen to it.
func TestVaultRules(t *testing.T) {
	rules := VaultRules()
	for name, verbs := range map[string]Verb{
		"README.txt":                                 Publish | Replace,
		"rescue.sh":                                  Publish | Replace,
		"log/log-0000000000000000.jsonl":             Append,
		"log/current":                                Replace,
		"blocks/open/main-00000000.blk":              Append | Source | Discard,
		"blocks/open/new-1":                          Append | Source | Discard,
		"blocks/open/up-" + strings.Repeat("0f", 32): Publish | Source | Discard,
		"blocks/open/other":                          Discard,
		"blocks/sealed/ab/" + strings.Repeat("ab", 32) + ".blk": Publish,
		"blocks/sealed/ab/abcd":                                 0,
		"blocks/sealed/abcd.blk":                                0,
		"blocks/sealed/ab":                                      0,
		"blocks/healed/ab/abcd":                                 Publish,
		"tile/0/000":                                            Publish | Discard,
		"tile/0/x001/234":                                       Publish | Discard,
		"checkpoint":                                            Replace,
		"wal/wal-00000001":                                      Append | Discard,
		"wal/other":                                             Discard,
		"index/keys/1-2":                                        Publish | Replace | Discard,
		"state/a/b":                                             Publish | Replace | Discard,
		"snapshots/snapshot-1/manifest.yaml":                    Publish | Replace | Discard,
		"meta/authority/current.json":                           Replace,
		"meta/policy/current.json":                              Replace,
		"meta/keys/pub/log.vkey":                                Publish | Replace,
		"meta/keys/priv/log.skey":                               Publish | Private,
		"meta/host/clean":                                       Replace,
		"meta/host/cut/1":                                       Publish,
		"meta/host/mirror":                                      Publish | Replace,
		"meta/host/incoming":                                    Replace,
		"meta/host/fork/0123456789abcdef.txt":                   Publish,
		"meta/host/fork/newest.txt":                             Publish | Replace,
		"meta/host/scrub":                                       Replace,
		"meta/host/check":                                       Replace | Discard,
		"meta/host/other":                                       0,
		"tmp/scratch/x":                                         Publish | Discard,
		"tmp/x":                                                 Discard,
		"tmp":                                                   0,
		"log":                                                   0,
		"lock":                                                  0,
		"log/.new-0-current":                                    Discard,
		"tile/0/.new-3-001":                                     Discard,
		"log/.new-0-log-0000000000000000.jsonl":                 0,
		"tile/0/.new-03-001":                                    0,
		"tile/0/.new-001":                                       0,
		".new-0-lock":                                           0,
	} {
		for v := Append; v <= Private; v <<= 1 {
			if got := rules.Allows(v, name); got != (verbs&v != 0) {
				t.Errorf("%v %s: allowed %v", v, name, got)
			}
		}
	}
}

// No rule set of ours lets truth be removed or replaced.
func TestRulesInvariant(t *testing.T) {
	for _, r := range VaultRules() {
		truth := strings.HasPrefix(r.Pattern, "log/log-") || strings.HasPrefix(r.Pattern, "blocks/sealed") || strings.HasPrefix(r.Pattern, "blocks/healed")
		if truth && r.Verbs&(Replace|Discard) != 0 {
			t.Errorf("%s may be %v", r.Pattern, r.Verbs)
		}
		if r.Verbs&Append != 0 && r.Verbs&(Publish|Replace) != 0 {
			t.Errorf("%s may be appended to and published", r.Pattern)
		}
	}
}

func TestTempNames(t *testing.T) {
	for n, target := range []string{"000", "a-b", "-", ".new-0-x", "x.blk"} {
		got, ok := tempTarget(tempName(n, target))
		if !ok || got != target {
			t.Errorf("temporary name of %q: %q, %v", target, got, ok)
		}
	}
	for _, name := range []string{"", "x", ".new-", ".new-0", ".new--x", ".new-x-y", ".new--1-x", ".new-+1-x", ".new-00-x", ".New-0-x", "0-x"} {
		if target, ok := tempTarget(name); ok {
			t.Errorf("%q is taken for a temporary name of %q", name, target)
		}
	}
}

func FuzzTempName(f *testing.F) {
	for _, name := range []string{".new-0-000", ".new-12-a-b", ".new-", "x", ".new-00-x", ".new-9999999999999999999-x"} {
		f.Add(name)
	}
	f.Fuzz(func(t *testing.T, name string) {
		target, ok := tempTarget(name)
		if !ok {
			return
		}
		n := 0
		for tempName(n, target) != name {
			if n++; n > 1000 {
				t.Skip() // a number too high to count up to
			}
		}
	})
}
