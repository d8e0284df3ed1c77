package record

import "math/bits"

// J returns j(n), the version that the skip link of version n leads to; 0 is
// none. With p = n-1 it is defined by j(0) = j(1) = 0 and
//
//	j(n) = j(j(p)) if p - j(p) = j(p) - j(j(p)), and p otherwise
//
// so that any older version is reached in a logarithmic number of steps along
// skip and prev links.
//
// These are the jump pointers of skew-binary lists: write n with as few terms
// of the form 2^k - 1 as possible, the greatest first; the jump drops the last
// term. Time and space are logarithmic and constant.
func J(n uint64) uint64 {
	rest := n
	for rest != 0 {
		term := ^uint64(0)
		if rest != term {
			term = 1<<(bits.Len64(rest+1)-1) - 1
		}
		if term == rest {
			return n - term
		}
		rest -= term
	}
	return 0
}
