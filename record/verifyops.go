package record

import "strconv"

// fewOps is the number of ops up to which pairs are compared directly; above
// it a table of keys is made.
const fewOps = 16

// VerifyOps checks what the ops of a transaction must satisfy together: 1 to
// [MaxOps] of them; conditions before all others; no stored key twice among
// puts, deletes and conditions on a key. Each op by itself is checked by its
// encoder and parser. The error wraps [ErrInvalid].
func VerifyOps(ops []Op) error { return verifyOps(ops).asError() }

func verifyOps(ops []Op) *FieldError {
	if len(ops) == 0 {
		return invalid("ops", "empty", "at least one")
	}
	if len(ops) > MaxOps {
		return invalidInt("ops", uint64(len(ops)), "at most "+strconv.Itoa(MaxOps))
	}
	for i := 1; i < len(ops); i++ {
		if ops[i].Kind == OpIf && ops[i-1].Kind != OpIf {
			return invalid(opField(i, "op"), "if", "conditions before all other ops")
		}
	}
	if len(ops) <= fewOps {
		return verifyFew(ops)
	}
	return verifyMany(ops)
}

// verifyMany looks for duplicates with a table of stored keys, which are parts
// of one string.
func verifyMany(ops []Op) *FieldError {
	size := 0
	for i := range ops {
		size += 1 + len(ops[i].Key)
	}
	arena := make([]byte, 0, size)
	for i := range ops {
		arena = append(append(arena, ops[i].Space), ops[i].Key...)
	}
	rest := string(arena)
	seen := make(map[string]int, len(ops))
	for i := range ops {
		stored := rest[:1+len(ops[i].Key)]
		rest = rest[len(stored):]
		if ops[i].Key == nil || ops[i].Kind == OpAppend {
			continue
		}
		if first, ok := seen[stored]; ok {
			return duplicate(ops, first, i)
		}
		seen[stored] = i
	}
	return nil
}

// verifyFew compares all pairs.
func verifyFew(ops []Op) *FieldError {
	for i := range ops {
		if ops[i].Key == nil || ops[i].Kind == OpAppend {
			continue
		}
		for k := range ops[:i] {
			if ops[k].Space == ops[i].Space && ops[k].Key != nil && string(ops[k].Key) == string(ops[i].Key) {
				return duplicate(ops, k, i)
			}
		}
	}
	return nil
}

func duplicate(ops []Op, first, second int) *FieldError {
	return invalidText(opField(second, "key"), ops[second].Key, "a key that no other op has; "+opField(first, "key")+" is the same")
}

func opField(i int, name string) string { return "ops[" + strconv.Itoa(i) + "]." + name }
