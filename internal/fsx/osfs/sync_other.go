//go:build darwin || freebsd

package osfs

import "os"

// syncData makes content and length durable.
func syncData(f *os.File) error { return f.Sync() }

// reserve does nothing: the standard library offers no such call here.
func reserve(*os.File, int64, int64) error { return nil }
