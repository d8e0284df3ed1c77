package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"graven"
)

// What the demonstration takes of a directory.
const (
	demoFiles = 1000
	demoBytes = 64 << 20
)

func (a *app) demoCommand() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo [DIR]",
		Short: "Show the main job on the files of a directory",
		Long: "Import a directory (default: this one; at most 1,000 files and 64 MiB, without .git) into a store in a\n" +
			"temporary directory, look into the past, prove and verify, rescue without the program, damage a byte.",
		Args: args(cobra.MaximumNArgs(1)),
		RunE: func(cmd *cobra.Command, argv []string) (err error) {
			dir := "."
			if len(argv) > 0 {
				dir = argv[0]
			}
			if dir, err = filepath.Abs(dir); err != nil {
				return err
			}
			temp, err := os.MkdirTemp("", "graven-demo-")
			if err != nil {
				return err
			}
			if keep {
				a.talk("The demonstration is in %s.", temp)
			} else {
				defer func() { err = errors.Join(err, os.RemoveAll(temp)) }()
			}
			d := &demo{a: a, ctx: cmd.Context(), dir: dir, temp: temp, store: filepath.Join(temp, "store")}
			return d.run()
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "do not remove the temporary directory")
	return cmd
}

// demo runs the steps of the demonstration. Each command that it prints is the
// one that it runs, in this process, with the store set by GRAVEN_STORE.
type demo struct {
	a     *app
	ctx   context.Context
	dir   string // the files
	temp  string
	store string
	key   string // the first key that was imported
	vkey  string
}

func (d *demo) run() error {
	for _, step := range []func() error{d.fill, d.change, d.proofs, d.rescue, d.damage} {
		if err := step(); err != nil {
			return err
		}
	}
	d.say("That was all. The store was in a temporary directory; nothing of yours was changed.")
	return nil
}

func (d *demo) say(text string) { fmt.Fprintf(d.a.out, "\n%s\n", d.a.bold("# "+text)) }

// graven runs a command of this program and prints it and what it says. It
// wants the exit code.
func (d *demo) graven(want int, argv ...string) (string, error) {
	shown := make([]string, len(argv))
	for i, arg := range argv {
		shown[i] = arg
		if strings.ContainsAny(arg, " '\"$\\") || arg == "" {
			shown[i] = "'" + strings.ReplaceAll(arg, "'", `'\''`) + "'"
		}
	}
	fmt.Fprintf(d.a.out, "$ graven %s\n", strings.Join(shown, " "))
	var out strings.Builder
	both := io.MultiWriter(&out, d.a.out)
	args := append([]string{"--store", d.store, "--vault", "main", "--output", "text", "--config", filepath.Join(d.temp, "none.toml")}, argv...)
	if got := run(d.ctx, args, strings.NewReader("a second version, from the demonstration\n"), both, d.a.out); got != want {
		return "", fmt.Errorf("graven %s: exit code %d, wanted %d", strings.Join(argv, " "), got, want)
	}
	return out.String(), nil
}

// fill makes a store and imports the directory.
func (d *demo) fill() error {
	if err := os.WriteFile(filepath.Join(d.temp, "none.toml"), nil, 0o644); err != nil {
		return err
	}
	d.say("A store, and a key for those who will verify.")
	out, err := d.graven(0, "init")
	if err != nil {
		return err
	}
	d.vkey = strings.TrimSpace(out)
	d.say(fmt.Sprintf("Import %s (at most %d files and %s, no .git). One receipt a transaction.", d.dir, demoFiles, formatBytes(demoBytes)))
	fmt.Fprintf(d.a.out, "$ graven import %s --prefix files/\n", d.dir)
	in := &app{in: d.a.in, out: d.a.out, err: d.a.out, conf: config{Store: d.store, Vault: "main", Output: "text"}}
	err = in.withVault(d.ctx, false, func(v *graven.Vault) error {
		im := &importer{a: in, ctx: d.ctx, v: v, dir: d.dir, prefix: "files/", limit: treeLimit{demoFiles, demoBytes, ".git"}}
		if err := im.run(); err != nil {
			return err
		}
		for e, err := range v.View().List(graven.Query{Prefix: []byte("files/"), Limit: 1}) {
			d.key = formatKey(e.Key)
			return err
		}
		return nil
	})
	if err != nil {
		return err
	}
	if d.key == "" {
		d.key = "files/first"
		if _, err := d.graven(0, "put", d.key); err != nil {
			return err
		}
	}
	d.say("The ledger is a text file: one line a transaction.")
	_, err = d.graven(0, "log", "-n", "4")
	return err
}

// change writes a second version and looks into the past.
func (d *demo) change() error {
	out, err := d.graven(0, "checkpoint")
	if err != nil {
		return err
	}
	size := strings.Split(out, "\n")[1]
	d.say("Change a value. What was is still there.")
	for _, argv := range [][]string{{"put", d.key, "-"}, {"get", d.key}} {
		if _, err := d.graven(0, argv...); err != nil {
			return err
		}
	}
	seq := fmt.Sprint(atoi(size) - 1)
	_, err = d.graven(0, "get", d.key, "--at", seq, "--out", filepath.Join(d.temp, "before"))
	return err
}

func atoi(s string) (n uint64) {
	_, _ = fmt.Sscan(s, &n)
	return n
}

// proofs makes a proof of a value and one of an absence, and verifies both.
func (d *demo) proofs() error {
	d.say("Prove the value, and prove that another key is absent. A proof verifies anywhere, without the store.")
	present, absent := filepath.Join(d.temp, "present.proof"), filepath.Join(d.temp, "absent.proof")
	value := filepath.Join(d.temp, "value")
	for _, argv := range [][]string{
		{"prove", d.key, "--out", present},
		{"get", d.key, "--out", value},
		{"verify", present, "--vkey", d.vkey, "--subject", d.key, "--value", value},
		{"prove", "files/no such file", "--out", absent},
		{"verify", absent, "--vkey", d.vkey, "--subject", "files/no such file"},
	} {
		if _, err := d.graven(0, argv...); err != nil {
			return err
		}
	}
	d.say("A true proof of something else proves nothing about what you asked.")
	_, err := d.graven(exitDamage, "verify", absent, "--vkey", d.vkey, "--subject", d.key)
	return err
}

func (d *demo) vaultDir() string { return filepath.Join(d.store, "vaults", "main") }

// rescue reads the vault with a shell script and coreutils.
func (d *demo) rescue() error {
	d.say("When this program is long gone: a shell and coreutils extract every value, check it, and recompute the signed root.")
	if _, err := exec.LookPath("sh"); err != nil {
		fmt.Fprintln(d.a.out, "(there is no sh on this machine: left out)")
		return nil
	}
	return d.sh(d.vaultDir(), true, "rescue.sh", filepath.Join(d.temp, "rescued"))
}

func (d *demo) sh(dir string, wantOK bool, argv ...string) error {
	fmt.Fprintf(d.a.out, "$ sh %s\n", strings.Join(argv, " "))
	cmd := exec.CommandContext(d.ctx, "sh", argv...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, d.a.out, d.a.out
	if err := cmd.Run(); (err == nil) != wantOK {
		return fmt.Errorf("sh %s: %v", strings.Join(argv, " "), err)
	}
	return nil
}

// damage changes one byte on disk and shows what catches it.
func (d *demo) damage() error {
	d.say("Now somebody with access to the disk changes one byte of the ledger.")
	logs, err := filepath.Glob(filepath.Join(d.vaultDir(), "log", "log-*.jsonl"))
	if err != nil || len(logs) == 0 {
		return fmt.Errorf("no log file: %w", err)
	}
	f, err := os.OpenFile(logs[0], os.O_RDWR, 0)
	if err != nil {
		return err
	}
	old := make([]byte, 1)
	const offset = 40
	_, err = f.ReadAt(old, offset)
	if err == nil {
		_, err = f.WriteAt([]byte{old[0] ^ 1}, offset)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	fmt.Fprintf(d.a.out, "(byte %d of %s: %q became %q)\n", offset, filepath.Base(logs[0]), old[0], old[0]^1)
	for _, argv := range [][]string{{"check"}, {"get", d.key}} {
		if _, err := d.graven(exitDamage, argv...); err != nil {
			return err
		}
	}
	return nil
}
