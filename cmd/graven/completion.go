package main

import (
	"strings"

	"github.com/spf13/cobra"

	"graven"
)

// Most that a completion offers at once.
const completeKeys = 200

// addCompletions lets the shell complete keys, vaults and formats. Errors end
// in no offer: the shell is no place to complain.
func (a *app) addCompletions(root *cobra.Command) {
	formats := cobra.FixedCompletions([]cobra.Completion{"text", "json"}, cobra.ShellCompDirectiveNoFileComp)
	must(root.RegisterFlagCompletionFunc("output", formats))
	must(root.RegisterFlagCompletionFunc("vault", func(cmd *cobra.Command, _ []string, _ string) ([]cobra.Completion, cobra.ShellCompDirective) {
		var names []string
		if a.conf.load(cmd) == nil {
			_ = a.withStore(cmd.Context(), true, func(s *graven.Store) (err error) {
				names, err = s.Vaults(cmd.Context())
				return err
			})
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}))
	for _, c := range root.Commands() {
		switch c.Name() {
		case "put", "get", "delete", "list", "prove":
			c.ValidArgsFunction = a.completeKey
		}
	}
}

// completeKey offers the keys that begin with what stands there.
func (a *app) completeKey(cmd *cobra.Command, args []string, begun string) ([]cobra.Completion, cobra.ShellCompDirective) {
	if len(args) > 0 { // put's FILE
		return nil, cobra.ShellCompDirectiveDefault
	}
	var keys []string
	if a.conf.load(cmd) == nil && !strings.HasPrefix(begun, keyPrefix) {
		_ = a.withView(cmd.Context(), "", func(w *graven.View) error {
			for e, err := range w.List(graven.Query{Prefix: []byte(begun), Limit: completeKeys}) {
				if err != nil {
					return err
				}
				keys = append(keys, formatKey(e.Key))
			}
			return nil
		})
	}
	return keys, cobra.ShellCompDirectiveNoFileComp
}

// must is for what only a mistake in this program can fail.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
