package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

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
type config struct {
	Store   string `koanf:"store"`
	Vault   string `koanf:"vault"`
	Output  string `koanf:"output"`
	Actor   string `koanf:"actor"`
	NoColor bool   `koanf:"no-color"`
}

// settings are the keys that may stand in a file.
var settings = []string{"store", "vault", "output", "actor", "no-color"}

const configFile = "graven.toml"

func addConfigFlags(f *pflag.FlagSet) {
	f.String("store", "./graven-data", "directory of the store")
	f.String("vault", "main", "name of the vault")
	f.StringP("output", "o", "text", "text or json")
	f.String("actor", "", "who writes, as it is recorded")
	f.Bool("no-color", false, "no colour (also NO_COLOR)")
	f.String("config", "", "settings file (default graven.toml in the store)")
}

// load puts the settings together.
func (c *config) load(cmd *cobra.Command) error {
	k := koanf.New(".")
	flags := cmd.Flags()
	defaults := map[string]any{"no-color": os.Getenv("NO_COLOR") != ""}
	if err := k.Load(confmap.Provider(defaults, "."), nil); err != nil {
		return err
	}
	fromEnv := env.Provider(".", env.Opt{Prefix: "GRAVEN_", TransformFunc: func(name, value string) (string, any) {
		key := strings.ReplaceAll(strings.ToLower(strings.TrimPrefix(name, "GRAVEN_")), "_", "-")
		if !slices.Contains(settings, key) {
			return "", nil
		}
		return key, value
	}})
	if err := c.loadFile(k, cmd, fromEnv); err != nil {
		return err
	}
	if err := k.Load(fromEnv, nil); err != nil {
		return usage("environment: %w", err)
	}
	if err := k.Load(posflag.Provider(flags, ".", k), nil); err != nil {
		return usage("flags: %w", err)
	}
	if err := k.Unmarshal("", c); err != nil {
		return usage("settings: %w", err)
	}
	if c.Output != "text" && c.Output != "json" {
		return usage("output %q: wanted text or json", c.Output)
	}
	return nil
}

// loadFile reads the settings file: the one that was named, or the store's, if
// there is one.
func (c *config) loadFile(k *koanf.Koanf, cmd *cobra.Command, fromEnv koanf.Provider) error {
	name, _ := cmd.Flags().GetString("config")
	if name == "" {
		name = os.Getenv("GRAVEN_CONFIG")
	}
	named := name != ""
	if !named {
		if cmd.Name() == "verify" || cmd.Name() == "demo" {
			return nil // they have nothing to do with a store
		}
		early := koanf.New(".")
		if err := errors.Join(early.Load(fromEnv, nil), early.Load(posflag.Provider(cmd.Flags(), ".", early), nil)); err != nil {
			return usage("settings: %w", err)
		}
		name = filepath.Join(early.String("store"), configFile)
	}
	if _, err := os.Stat(name); errors.Is(err, fs.ErrNotExist) && !named {
		return nil
	}
	if err := k.Load(file.Provider(name), toml.Parser()); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("settings file: %w", err)
		}
		return usage("settings file %s: %w", name, err)
	}
	for _, key := range k.Keys() {
		if !slices.Contains(settings, key) {
			return usage("settings file %s: unknown setting %q; known are %s", name, key, strings.Join(settings, ", "))
		}
	}
	return nil
}
