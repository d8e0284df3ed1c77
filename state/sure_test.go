package state

// sure returns v: what reads no page has no error.
func sure[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// sure2 is sure for two values.
func sure2[A, B any](a A, b B, err error) (A, B) {
	if err != nil {
		panic(err)
	}
	return a, b
}
