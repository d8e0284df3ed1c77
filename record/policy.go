package record

// Policy says what is in force for new records.
type Policy struct {
	// Features are all that are in force, sorted, without duplicates, at least one.
	Features []string
	// Classes are the retention classes that a transaction may name, likewise.
	// `log` is not among them.
	Classes []string
}

// Append appends the document. On error, which wraps [ErrInvalid], dst is
// returned as it was.
func (y *Policy) Append(dst []byte) ([]byte, error) {
	if e := y.check(); e != nil {
		return dst, e
	}
	dst = appendStrings(dst, `{"v":1,"kind":"policy","features":`, y.Features)
	dst = appendStrings(dst, `,"classes":`, y.Classes)
	return append(dst, '}'), nil
}

// ParsePolicy reads what [Policy.Append] writes and nothing else. The error
// wraps [ErrUnknownVersion] for another version of the document, and those of
// [Parse] otherwise.
func ParsePolicy(doc []byte) (*Policy, error) {
	p := scanner{b: doc}
	if err := p.documentStart(KindPolicy); err != nil {
		return nil, err
	}
	y := new(Policy)
	y.Features = p.strings(`,"features":`)
	y.Classes = p.strings(`,"classes":`)
	p.lit("}")
	if p.end() == nil {
		p.refuse(0, y.check())
	}
	if p.err != nil {
		return nil, p.err
	}
	return y, nil
}

func (y *Policy) check() *FieldError {
	if e := checkSet("features", y.Features, isFeature, "kind/version"); e != nil {
		return e
	}
	return checkSet("classes", y.Classes, isUserClass, "a class other than log: "+limitClass)
}

func isUserClass(s string) bool { return s != ClassLog && isClass(s) }
