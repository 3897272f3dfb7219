// Stranger verifies a served ledger with code that nobody of this project wrote: torchwood (C2SP tlog-tiles,
// tlog-cosignature, tlog-proof) and Go's own sumdb packages (signed notes, trees).
//
//	stranger -log URL -key VKEY [-witness VKEY] [-proof URL] [-consistency URL]
//
// It prints the size of the log and the SHA-256 over all entries, one after another; any fault ends it with 1.
package main

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"

	"filippo.io/torchwood"
	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

type head struct {
	Size int64  `json:"size"`
	Root []byte `json:"root"`
}

func main() {
	log.SetFlags(0)
	base := flag.String("log", "", "prefix of the log's files")
	key := flag.String("key", "", "verifier key of the log")
	witness := flag.String("witness", "", "verifier key of a witness that must have cosigned")
	proof := flag.String("proof", "", "address of a tlog-proof with its entry as extra data")
	consistency := flag.String("consistency", "", "address of a consistency proof")
	flag.Parse()

	policy := must(policyOf(*key, *witness))
	fetcher := must(torchwood.NewTileFetcher(*base))
	checkpoint := readCheckpoint(fetcher, policy)
	tree := tlog.Tree{N: checkpoint.N, Hash: checkpoint.Hash}
	readEntries(fetcher, tree)
	if *proof != "" {
		text := get(*proof)
		entry := must(torchwood.ProofExtraData(text))
		check(torchwood.VerifyProof(policy, tlog.RecordHash(entry), text))
		fmt.Printf("proof of %x\n", sha256.Sum256(entry))
	}
	if *consistency != "" {
		checkConsistency(get(*consistency), tree)
	}
}

func policyOf(key, witness string) (torchwood.Policy, error) {
	verifier, err := note.NewVerifier(key)
	if err != nil {
		return nil, err
	}
	policies := []torchwood.Policy{torchwood.OriginPolicy(verifier.Name()), torchwood.SingleVerifierPolicy(verifier)}
	if witness != "" {
		cosigner, err := torchwood.NewCosignatureVerifier(witness)
		if err != nil {
			return nil, err
		}
		policies = append(policies, torchwood.SingleVerifierPolicy(cosigner))
	}
	return torchwood.ThresholdPolicy(len(policies), policies...), nil
}

func readCheckpoint(fetcher *torchwood.TileFetcher, policy torchwood.Policy) torchwood.Checkpoint {
	signed := must(fetcher.ReadEndpoint(context.Background(), "checkpoint"))
	checkpoint, _, err := torchwood.VerifyCheckpoint(signed, policy)
	check(err)
	return checkpoint
}

// readEntries reads every entry from its bundle and checks it against the tiles, and these against the root.
func readEntries(fetcher *torchwood.TileFetcher, tree tlog.Tree) {
	client := must(torchwood.NewClient(fetcher))
	all := sha256.New()
	var next int64
	for index, entry := range client.AllEntries(context.Background(), tree, 0) {
		if index != next {
			log.Fatalf("entry %d came after %d", index, next-1)
		}
		all.Write(entry)
		next++
	}
	check(client.Err())
	if next != tree.N {
		log.Fatalf("%d entries of %d", next, tree.N)
	}
	fmt.Printf("size %d\nentries %x\n", tree.N, all.Sum(nil))
}

func checkConsistency(data []byte, tree tlog.Tree) {
	var answer struct {
		From, To head
		Proof    [][]byte
	}
	check(json.Unmarshal(data, &answer))
	if answer.To.Size != tree.N || tlog.Hash(answer.To.Root) != tree.Hash {
		log.Fatal("the consistency proof leads to another tree")
	}
	hashes := make(tlog.TreeProof, len(answer.Proof))
	for i, hash := range answer.Proof {
		hashes[i] = tlog.Hash(hash)
	}
	check(tlog.CheckTree(hashes, tree.N, tree.Hash, answer.From.Size, tlog.Hash(answer.From.Root)))
	fmt.Printf("consistent with size %d\n", answer.From.Size)
}

func get(address string) []byte {
	response := must(http.Get(address))
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		log.Fatalf("%s: %s", address, response.Status)
	}
	return must(io.ReadAll(response.Body))
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
