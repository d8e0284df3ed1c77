package segment

import (
	"encoding/binary"

	"github.com/cespare/xxhash/v2"
)

// The filter is a split-block Bloom filter as in Apache Parquet: a key sets and
// asks one bit in each of the eight 32-bit words of one block of 32 bytes, so
// that a probe touches one page of the file. With 11 bits a key about one absent
// key in a hundred passes.
//
// https://github.com/apache/parquet-format/blob/master/BloomFilter.md
const (
	blockSize  = 32
	bitsPerKey = 11
	// pageBlocks is how many blocks a page of the filter has; the last may have fewer.
	pageBlocks = 128
)

// salts of the Parquet filter, one a word.
var salts = [8]uint32{0x47b6137b, 0x44974d91, 0x8824ad5b, 0xa2b7289d, 0x705495c7, 0x2df1424b, 0x9efc4947, 0x5c6bfb31}

// Hash is what filters are asked with: the xxHash64 of a key, or of the part of
// it that the filter is about. It is the same for every file.
type Hash uint64

// HashOf hashes a key.
func HashOf(key []byte) Hash { return Hash(xxhash.Sum64(key)) }

// block returns the number of the block, of so many, that a key belongs to.
func (h Hash) block(blocks uint64) uint64 { return uint64(h>>32) * blocks >> 32 }

// blocksFor returns how many blocks a filter for so many keys has.
func blocksFor(keys uint64) uint64 {
	if keys == 0 {
		return 0
	}
	const perBlock = blockSize * 8
	return min((keys*bitsPerKey+perBlock-1)/perBlock, 1<<32-1)
}

// filterSize returns the length of a filter in the file, with its checksums.
func filterSize(blocks uint64) int64 {
	return int64(blocks*blockSize + (blocks+pageBlocks-1)/pageBlocks*sumSize)
}

// filterPlace returns where the page of a block lies.
func (f *footer) filterPlace(block uint64) place {
	number := block / pageBlocks
	first := number * pageBlocks
	return place{
		f.filter + int64(number)*(pageBlocks*blockSize+sumSize),
		int(min(f.blocks-first, pageBlocks)) * blockSize,
	}
}

// mark sets a key's bits in its block.
func mark(block []byte, h Hash) {
	for i, salt := range salts {
		word := block[4*i : 4*i+4]
		bit := uint32(1) << (uint32(h) * salt >> 27)
		binary.LittleEndian.PutUint32(word, binary.LittleEndian.Uint32(word)|bit)
	}
}

// marked reports whether all of a key's bits are set in its block.
func marked(block []byte, h Hash) bool {
	_ = block[blockSize-1]
	for i, salt := range salts {
		if binary.LittleEndian.Uint32(block[4*i:])>>(uint32(h)*salt>>27)&1 == 0 {
			return false
		}
	}
	return true
}
