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
	p.lit("}")
	if p.end() == nil {
		p.refuse(0, checkKeyBytes("key", key, 1))
	}
	if p.err != nil {
		return 0, nil, p.err
	}
	return space, key, nil
}
