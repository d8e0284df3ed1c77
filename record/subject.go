package record

// FormatSubject returns the subject of a key's proof, members as in an op:
//
//	{"key":"…"}   {"key64":"…"}   {"space":"00","key":"…"}
//
// The key must have 1 to [MaxKey] bytes for [ParseSubject] to accept it.
func FormatSubject(space byte, key []byte) string {
	dst := []byte{'{'}
	names := keyNames{keyText[1:], keyBase64[1:]}
	if space != SpaceUser {
		dst = appendSpace(dst, `"space":"`, space)
		names = keyNames{keyText, keyBase64}
	}
	return string(append(appendBytes(dst, names, key), '}'))
}

// ParseSubject reads what [FormatSubject] writes for a key of legal length and
// nothing else. The error wraps [ErrSyntax].
func ParseSubject(s string) (space byte, key []byte, err error) {
	space, key, _, err = parseSubject(s, false)
	return space, key, err
}

// FormatSubjectAt is FormatSubject of a key as it was at a moment; of the zero
// Moment it is the same.
//
//	{"key":"…","at":17}   {"key":"…","time":"2026-01-02T03:04:05.000000006Z"}
func FormatSubjectAt(space byte, key []byte, m Moment) string {
	s := FormatSubject(space, key)
	return string(m.append([]byte(s[:len(s)-1]))) + "}"
}

// ParseSubjectAt reads what [FormatSubjectAt] writes and nothing else. The error
// wraps [ErrSyntax].
func ParseSubjectAt(s string) (space byte, key []byte, m Moment, err error) {
	return parseSubject(s, true)
}

func parseSubject(s string, withMoment bool) (space byte, key []byte, m Moment, err error) {
	p := scanner{b: []byte(s)}
	p.lit("{")
	names := keyNames{keyText[1:], keyBase64[1:]}
	if space = p.space(`"space":"`); space != SpaceUser {
		names = keyNames{keyText, keyBase64}
	}
	key, ok := p.bytes(names)
	if !ok {
		p.fail(p.i, names.text+" or "+names.base64)
	}
	if withMoment {
		m = p.moment()
	}
	p.lit("}")
	if p.end() == nil {
		p.refuse(0, checkKeyBytes("key", key, 1))
	}
	if p.err != nil {
		return 0, nil, Moment{}, p.err
	}
	return space, key, m, nil
}
