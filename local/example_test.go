package local_test

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"os"

	"graven"
	"graven/local"
	"graven/proof"
	"graven/record"
)

// A store is made, a value is put and read back, and its proof is verified the
// way somebody else would: with nothing but the file and the verifier key.
func Example() {
	dir, err := os.MkdirTemp("", "example-")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	store, err := local.Create(ctx, dir, graven.CreateOptions{}, graven.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer store.Close()
	vault, err := store.Vault(ctx, "main")
	if err != nil {
		log.Fatal(err)
	}

	// Stage takes values of any size; those up to 256 KiB stay in memory.
	content, err := vault.Stage(ctx, bytes.NewReader([]byte("hello")))
	if err != nil {
		log.Fatal(err)
	}
	tx := &graven.Tx{Actor: "alice"}
	tx.Put([]byte("greeting"), content, graven.PutOptions{If: &record.Cond{Kind: record.Absent}})
	receipt, err := vault.Commit(ctx, tx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("record", receipt.Seq, "of", receipt.Size)

	view := vault.View()
	entry, err := view.Get([]byte("greeting"))
	if err != nil {
		log.Fatal(err)
	}
	value, err := view.Value(entry)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := value.WriteTo(os.Stdout); err != nil {
		log.Fatal(err)
	}
	fmt.Println()

	file, err := view.ProveKey([]byte("greeting"))
	if err != nil {
		log.Fatal(err)
	}
	verifier, err := proof.NewVerifier(vault.VKeys()[0])
	if err != nil {
		log.Fatal(err)
	}
	result, err := verifier.Verify(file)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("proven:", result.Subject(), result.CheckValue(bytes.NewReader([]byte("hello"))))
	// Output:
	// record 2 of 4
	// hello
	// proven: greeting <nil>
}
