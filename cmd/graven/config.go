package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/knadh/koanf/parsers/toml/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/providers/file"
	"github.com/knadh/koanf/providers/posflag"
	"github.com/knadh/koanf/v2"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// config are the settings that every command has. Each can be a flag, a
// variable GRAVEN_<NAME>, or a line in a TOML file; the first that is given
// counts, in this order, and else the default.
//
//	store = "/srv/ledger"     only in a file that --config names; relative to that file
//	vault = "main"
//	output = "text"           text or json
//	actor = "alice"           who writes, as it is recorded
//	sign = "alice.skey"       the signing key, where the policy wants it; in a file relative to that
//	lock-wait = "2s"          how long to wait for a store that another process holds
//	no-color = false
type config struct {
	Store    string        `koanf:"store"`
	Vault    string        `koanf:"vault"`
	Output   string        `koanf:"output"`
	Actor    string        `koanf:"actor"`
	Sign     string        `koanf:"sign"`
	LockWait time.Duration `koanf:"lock-wait"`
	NoColor  bool          `koanf:"no-color"`
}

// settings are the keys that may stand in a file.
var settings = []string{"store", "vault", "output", "actor", "sign", "lock-wait", "no-color"}

const (
	configFile   = "graven.toml"
	defaultStore = "graven-data"
)

// isStoreless reports whether a command never touches a store, so that it does
// not read the settings file in one either.
func isStoreless(cmd *cobra.Command) bool {
	for cmd.HasParent() && cmd.Parent().HasParent() {
		cmd = cmd.Parent()
	}
	switch cmd.Name() {
	case "graven", "verify", "keygen", "demo", "sync", "help", "completion", cobra.ShellCompRequestCmd, cobra.ShellCompNoDescRequestCmd:
		return true
	}
	return false
}

func addConfigFlags(f *pflag.FlagSet) {
	f.String("store", "./"+defaultStore, "directory of the store")
	f.String("vault", "main", "name of the vault")
	f.StringP("output", "o", "text", "text or json")
	f.String("actor", "", "who writes, as it is recorded; up to 256 bytes")
	f.String("sign", "", "file with the signing key of --actor, where the vault's policy wants signatures")
	f.Duration("lock-wait", 2*time.Second, "how long to wait for a store that another process holds")
	f.Bool("no-color", false, "no colour (also NO_COLOR)")
	f.String("config", "", "settings file (default "+configFile+" in the store)")
}

// load puts the settings together.
func (c *config) load(cmd *cobra.Command) error {
	k := koanf.New(".")
	defaults := map[string]any{"no-color": os.Getenv("NO_COLOR") != ""}
	if err := k.Load(confmap.Provider(defaults, "."), nil); err != nil {
		return err
	}
	fromEnv := env.Provider(".", env.Opt{Prefix: "GRAVEN_", TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "GRAVEN_")), "_", "-")
		if value == "" || !slices.Contains(settings, key) {
			return "", nil
		}
		return key, value
	}})
	if err := loadFile(k, cmd, fromEnv); err != nil {
		return err
	}
	if err := k.Load(fromEnv, nil); err != nil {
		return usage("environment: %w", err)
	}
	if err := k.Load(posflag.Provider(cmd.Flags(), ".", k), nil); err != nil {
		return usage("flags: %w", err)
	}
	if err := k.Unmarshal("", c); err != nil {
		lines := strings.Split(strings.TrimSpace(err.Error()), "\n") // the last says which setting it is
		return usage("settings: %s; wanted a time such as 2s for lock-wait, true or false for no-color", lines[len(lines)-1])
	}
	if c.Output != "text" && c.Output != "json" {
		return usage("output %q: wanted text or json", c.Output)
	}
	if c.LockWait < 0 {
		return usage("lock-wait %v: wanted at least 0", c.LockWait)
	}
	return nil
}

// loadFile reads the settings file: the one that was named, or the store's, if
// there is one.
func loadFile(k *koanf.Koanf, cmd *cobra.Command, fromEnv koanf.Provider) error {
	name, _ := cmd.Flags().GetString("config")
	if name == "" {
		name = os.Getenv("GRAVEN_CONFIG")
	}
	named := name != ""
	if !named {
		if isStoreless(cmd) {
			return nil
		}
		early := koanf.New(".")
		if err := errors.Join(early.Load(fromEnv, nil), early.Load(posflag.Provider(cmd.Flags(), ".", early), nil)); err != nil {
			return usage("settings: %w", err)
		}
		name = filepath.Join(early.String("store"), configFile)
		if _, err := os.Lstat(name); err != nil {
			return nil // no file there, or no store: that is for opening it to say
		}
	}
	// Whoever can write the store's folder must not make every command wait or swell.
	const most = 64 << 10
	info, err := os.Stat(name)
	if err == nil && !info.Mode().IsRegular() {
		return usage("settings file %s is not a regular file", name)
	}
	if err == nil && info.Size() > most {
		return usage("settings file %s has %d bytes; wanted at most %d", name, info.Size(), most)
	}
	f := koanf.New(".")
	if err := f.Load(file.Provider(name), toml.Parser()); err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			return fmt.Errorf("settings file: %w", err)
		}
		return usage("settings file %s: %w", name, err)
	}
	for _, key := range f.Keys() {
		if !slices.Contains(settings, key) {
			return usage("settings file %s: unknown setting %q; known are %s", name, key, strings.Join(settings, ", "))
		}
	}
	if store := f.String("store"); store != "" {
		if !named {
			return usage("settings file %s: it lies in the store, so it cannot name one", name)
		}
	}
	for _, key := range []string{"store", "sign"} {
		if path := f.String(key); path != "" && !filepath.IsAbs(path) {
			if err := f.Set(key, filepath.Join(filepath.Dir(name), path)); err != nil {
				return err
			}
		}
	}
	return k.Merge(f)
}
