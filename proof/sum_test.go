package proof

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"testing"

	"graven/record"
)

// resum gives a key proof that was changed by hand the sum that its lines have
// now, as everybody can. It follows docs/format.md §10.2 and not sumOf. A file
// without a sum stays as it is.
func resum(file []byte) []byte {
	at := bytes.Index(file, []byte("\nsum ")) + 1
	if at == 0 {
		return file
	}
	hash := sha256.Sum256(file[:at])
	out := append(bytes.Clone(file[:at]), fmt.Sprintf("sum %x", hash[:8])...)
	if end := bytes.IndexByte(file[at:], '\n'); end >= 0 {
		out = append(out, file[at+end:]...)
	}
	return out
}

// forge replaces a part of a proof file, which it must have, and makes the sum fit.
func forge(t testing.TB, file []byte, from, to string) []byte {
	t.Helper()
	if !bytes.Contains(file, []byte(from)) {
		t.Fatalf("no %q to replace", from)
	}
	return resum(bytes.Replace(file, []byte(from), []byte(to), 1))
}

// bySum says whether it is the sum that refused a file. Where the deeper checks
// are to be tested, it must not.
func bySum(err error) bool {
	return errors.Is(err, ErrFormat) && strings.Contains(err.Error(), "changed on the way")
}

func TestSum(t *testing.T) {
	v, files := samples(t)
	ver := v.verifier()
	for name, file := range files {
		at := bytes.Index(file, []byte("\nsum ")) + 1
		if strings.HasPrefix(name, "record") != (at == 0) {
			t.Fatalf("%s: the sum is at byte %d", name, at)
		}
		if at == 0 {
			continue
		}
		if !bytes.Equal(resum(file), file) {
			t.Errorf("%s: its sum is not that of docs/format.md:\n%s", name, file)
		}
		above, below := string(file[:at]), string(file[at+len("sum 0123456789abcdef\n"):])
		sum := string(file[at+len("sum ") : len(file)-len(below)-1])
		beforeCommit := strings.LastIndex(above, "commit ")
		hash := sha256.Sum256([]byte(above))
		shorter := sha256.Sum256([]byte(above[:len(above)-1]))
		all := sha256.Sum256([]byte(above + below))
		lines := map[string]string{
			"none":                  "",
			"two":                   "sum " + sum + "\nsum " + sum + "\n",
			"empty":                 "sum \n",
			"15 digits":             "sum " + sum[:15] + "\n",
			"17 digits":             "sum " + sum + "0\n",
			"all digits":            fmt.Sprintf("sum %x\n", hash),
			"the last digits":       fmt.Sprintf("sum %x\n", hash[24:]),
			"without the line feed": fmt.Sprintf("sum %x\n", shorter[:8]),
			"of the whole file":     fmt.Sprintf("sum %x\n", all[:8]),
			"space before":          "sum  " + sum + "\n",
			"space behind":          "sum " + sum + " \n",
			"in base64":             "sum " + b64.EncodeToString(hash[:8]) + "\n",
			"of another name":       "Sum " + sum + "\n",
		}
		if upper := strings.ToUpper(sum); upper != sum {
			lines["capitals"] = "sum " + upper + "\n"
		}
		for i := range sum {
			digit := "0"
			if sum[i] == '0' {
				digit = "1"
			}
			lines[fmt.Sprint("other digit ", i)] = "sum " + sum[:i] + digit + sum[i+1:] + "\n"
		}
		for what, line := range lines {
			_, err := ver.Verify([]byte(above + line + below))
			if !errors.Is(err, ErrFormat) || strings.HasPrefix(what, "other digit") && !bySum(err) {
				t.Errorf("%s: %s: got %v, wanted ErrFormat", name, what, err)
			}
		}
		early := resum([]byte(above[:beforeCommit] + "sum " + sum + "\n" + above[beforeCommit:] + below))
		if _, err := ver.Verify(early); !errors.Is(err, ErrFormat) {
			t.Errorf("%s: before the commit: got %v, wanted ErrFormat", name, err)
		}
	}
}

// What the sum is not: a signature. Whoever changes the subject of an absence and
// computes the sum anew has a proof, if the search for the other key ends at the
// same place. It is a true one, of something else; so who asked for a key says so,
// with CheckSubject. No sum makes a false one of it, and no spelling.
func TestSumIsNoSignature(t *testing.T) {
	v, files := samples(t)
	ver := v.verifier()
	for _, tc := range []struct {
		name  string
		space byte
		key   string
		hand  error // only the subject and the sum are changed
		spelt error // and the path spelled for the other subject
	}{
		{"absent by neighbour", 'k', "colours/034", nil, nil},
		{"absent by neighbour", 'k', "colours/03\x00", nil, nil},
		{"absent, one leaf", 'q', "row/3", nil, nil},
		{"absent, one leaf", 'q', "\xff", nil, nil},
		{"absent, empty space", 'z', "any", nil, nil},
		{"absent, empty space", '{', "row/2", nil, nil},

		{"absent by neighbour", 'k', "colours/045", ErrFormat, ErrProof}, // ends at another leaf
		{"absent by neighbour", 'k', "zzz", ErrFormat, ErrProof},
		{"absent by neighbour", 'k', "colours/04", ErrFormat, ErrProof},   // present
		{"absent by neighbour", 'k', "colours/03", ErrFormat, ErrInvalid}, // the leaf's own key
		{"absent by neighbour", 'z', "colours/035", ErrProof, ErrProof},   // no leaves there
		{"absent, one leaf", 'q', "row/1", ErrFormat, ErrInvalid},
		{"absent, one leaf", 'k', "row/2", ErrProof, ErrProof},
		{"absent, empty space", 'q', "row/1", ErrProof, ErrProof},
		{"absent, empty space", 'q', "row/2", ErrProof, ErrProof}, // absent, but not by this
		{"deleted", 'k', "colours/06", ErrFormat, ErrInvalid},
		{"deleted", 'k', "colours/075", ErrFormat, ErrInvalid},
		{"present", 'k', "colours/04", ErrFormat, ErrInvalid},
	} {
		file := files[tc.name]
		good, err := ver.Verify(file)
		if err != nil {
			t.Fatal(err)
		}
		p, err := parseKeyProof(file)
		if err != nil {
			t.Fatal(err)
		}
		from, to := subjectLine(p.Space, p.Key), subjectLine(tc.space, []byte(tc.key))
		judge := func(how string, file []byte, err, want error) {
			t.Helper()
			var res *Result
			if err == nil {
				res, err = ver.Verify(file)
			}
			if !errors.Is(err, want) || bySum(err) {
				t.Errorf("%s, as %s, %s: got %v, wanted %v", tc.name, keySubject(tc.space, []byte(tc.key)), how, err, want)
			}
			if err != nil {
				return
			}
			truth(t, v, res)
			if err := res.CheckSubject(keySubject(tc.space, []byte(tc.key))); err != nil {
				t.Errorf("%s, %s: %v", tc.name, how, err)
			}
			if err := res.CheckSubject(good.Subject()); !errors.Is(err, ErrSubject) {
				t.Errorf("%s, %s: got %v, wanted ErrSubject", tc.name, how, err)
			}
		}
		judge("with a new sum", forge(t, file, from, to), nil, tc.hand)
		p.Space, p.Key = tc.space, []byte(tc.key)
		respelt, err := p.Encode()
		judge("respelled", respelt, err, tc.spelt)
		// On the way, by accident: the old sum.
		if _, err := ver.Verify(bytes.Replace(file, []byte(from), []byte(to), 1)); !errors.Is(err, ErrFormat) {
			t.Errorf("%s, with the old sum: got %v, wanted ErrFormat", tc.name, err)
		}
	}
}

func subjectLine(space byte, key []byte) string {
	return "\nsubject " + record.FormatSubject(space, key) + "\n"
}
