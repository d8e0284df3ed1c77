// Package rescue holds the two files that stand in every vault so that it can be read and checked without this
// program: README.txt says what the folder is and how to check it by hand, rescue.sh does it with a POSIX shell and
// GNU coreutils.
//
// rescue.sh copies every artifact out of the blocks, checks each hash, puts chunked values together, checks every
// group of the log against its commit line, recomputes the RFC 6962 root and compares it with the checkpoint. It is
// a second implementation of docs/format.md that shares no line with the first, and is kept so on purpose: the
// tests here make vaults of their own, byte by byte from the format, and never through the engine.
//
//	readme, script := rescue.Files()
package rescue

import _ "embed"

var (
	//go:embed README.txt
	readme string
	//go:embed rescue.sh
	script string
)

// Files returns the bytes of README.txt and rescue.sh as they are written into a vault. The caller owns them.
func Files() (readmeText, scriptText []byte) {
	return []byte(readme), []byte(script)
}
