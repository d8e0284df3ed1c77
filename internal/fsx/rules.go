package fsx

import (
	"path"
	"strconv"
	"strings"
)

// Verb is a way to change a file. A rule holds several, joined with |.
type Verb uint8

const (
	// Append writes into a file that grows, or makes it.
	Append Verb = 1 << iota
	// Publish makes a whole new file appear at once and never replaces one.
	Publish
	// Replace puts new content in the place of old content at once.
	Replace
	// Discard removes a file.
	Discard
	// Source lets PublishLink give the file a second, published name.
	Source
	// Private is no change: new files and folders at such a path are for their owner only.
	Private
)

func (v Verb) String() string {
	var s []string
	for i, name := range [...]string{"append", "publish", "replace", "discard", "link from", "private"} {
		if v&(1<<i) != 0 {
			s = append(s, name)
		}
	}
	return strings.Join(s, "|")
}

// Rule says how the paths that match a pattern may change. A pattern is matched
// element by element as in path.Match; a last element ** stands for one or more
// elements of any name.
type Rule struct {
	Pattern string
	Verbs   Verb
}

// Rules is the whole of what may change below a folder. What no rule allows is
// refused. Temporary names are made and removed by the verbs themselves.
type Rules []Rule

// VaultRules are the rules of a vault's folder (docs/format.md §1).
//
// Invariant: no rule lets a log file or a block under blocks/sealed be
// discarded or replaced, and none appends to a published file.
func VaultRules() Rules {
	return Rules{
		// Truth.
		{"log/log-*.jsonl", Append},
		{"blocks/open/*.blk", Append | Source | Discard},
		{"blocks/open/new-*", Append | Source | Discard},
		{"blocks/open/up-*", Publish | Source | Discard},
		{"blocks/sealed/*/*.blk", Publish},
		{"blocks/healed/*/*", Publish},
		{"wal/wal-*", Append | Discard},
		{"wal/*", Discard},
		{"blocks/open/*", Discard},
		// What goes with it.
		{"README.txt", Publish | Replace}, // they stand in the program
		{"rescue.sh", Publish | Replace},
		{"checkpoint", Replace},
		{"log/current", Replace},
		{"meta/authority/*", Replace},
		{"meta/policy/*", Replace},
		{"meta/keys/**", Publish},
		{"meta/keys/pub/*", Replace}, // they stand in the authority
		{"meta/keys/priv/**", Publish | Private},
		{"meta/host/clean", Replace},
		{"meta/host/restored", Publish | Discard}, // docs/decisions/0017
		{"meta/host/cut/*", Publish},
		{"meta/host/mirror", Publish | Replace}, // of a mirror: of what, and from where
		{"meta/host/incoming", Replace},         // and the checkpoint that its sync goes to
		{"meta/host/fork/*", Publish},           // and pairs of checkpoints that contradict each other,
		{"meta/host/fork/newest.txt", Replace},  // the first for good
		{"meta/host/scrub", Replace},
		{"meta/host/check", Replace | Discard},
		// What can be made again.
		{"tile/**", Publish | Discard},
		{"index/**", Publish | Replace | Discard},
		{"state/**", Publish | Replace | Discard},
		{"snapshots/**", Publish | Replace | Discard},
		{"tmp/**", Discard},
		{"tmp/scratch/**", Publish}, // rooms on the side: index and state pages
	}
}

// StoreRules are the rules of a store's folder: vaults appear whole, with
// PublishFolder, and have rules of their own.
func StoreRules() Rules {
	return Rules{{"vaults/*", Publish}}
}

// Allows reports whether a path may change in this way. A temporary name may
// be discarded wherever something may be published or replaced, and nothing else.
func (r Rules) Allows(v Verb, name string) bool {
	dir, base := split(name)
	if !strings.HasPrefix(base, tempPrefix) {
		return r.matches(v, name)
	}
	target, ok := tempTarget(base)
	return ok && v == Discard && r.matches(Publish|Replace, path.Join(dir, target))
}

// matches reports whether a rule with any of the verbs has a pattern for name.
func (r Rules) matches(v Verb, name string) bool {
	for _, rule := range r {
		if rule.Verbs&v != 0 && match(rule.Pattern, name) {
			return true
		}
	}
	return false
}

// private reports whether a file or folder at this path is for its owner only.
func (r Rules) private(name string) bool {
	// The folder of private files is private itself, thus name/x.
	return r.matches(Private, name) || r.matches(Private, name+"/x")
}

// match matches a pattern against a path, see Rule.
func match(pattern, name string) bool {
	for {
		p, restP, moreP := strings.Cut(pattern, "/")
		n, restN, moreN := strings.Cut(name, "/")
		if p == "**" && !moreP {
			return n != ""
		}
		if ok, err := path.Match(p, n); err != nil || !ok {
			return false
		}
		if !moreP || !moreN {
			return moreP == moreN
		}
		pattern, name = restP, restN
	}
}

// RuleError is returned for a change that no rule allows. It matches ErrRule.
type RuleError struct {
	Verb Verb
	Path string // relative to the folder of the rules
}

func (e *RuleError) Error() string {
	return e.Verb.String() + " " + e.Path + ": " + ErrRule.Error()
}

// Is reports whether target is ErrRule.
func (e *RuleError) Is(target error) bool { return target == ErrRule }

// tempPrefix begins the temporary names beside the targets of Publish and Replace.
const tempPrefix = ".new-"

// tempName makes the temporary name .new-<n>-<target>.
func tempName(n int, target string) string {
	return tempPrefix + strconv.Itoa(n) + "-" + target
}

// tempTarget returns the target of a temporary name.
func tempTarget(base string) (target string, ok bool) {
	n, target, ok := strings.Cut(strings.TrimPrefix(base, tempPrefix), "-")
	number, err := strconv.Atoi(n)
	return target, ok && err == nil && number >= 0 && base == tempName(number, target)
}
