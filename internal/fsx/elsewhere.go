package fsx

// BackupRules are the rules of a backup's folder, which looks like a vault's
// (docs/decisions/0017). It belongs to the program that writes backups: what a
// later backup has made superfluous may go, and what was found rotten there is
// written again. Log files and open blocks grow behind what they hold.
func BackupRules() Rules {
	return Rules{
		{"log/log-*.jsonl", Append},
		{"blocks/open/*.blk", Append | Discard},
		{"blocks/sealed/*/*.blk", Publish | Discard},
		{"README.txt", Replace},
		{"rescue.sh", Replace},
		{"checkpoint", Replace},
		{"meta/authority/current.json", Replace},
		{"meta/policy/current.json", Replace},
		{"meta/keys/pub/*.vkey", Replace},
		{"meta/keys/priv/*.skey", Replace | Discard | Private},
		{"meta/host/clean", Replace},
		{"meta/host/restored", Replace},
		{"backup.txt", Replace},
	}
}

// RestoreRules are those of a vault's folder while it is made from a backup: it
// is new and nobody's yet, so everything appears in it whole, and once.
func RestoreRules() Rules {
	return Rules{
		{"**", Publish},
		{"meta/keys/priv/**", Publish | Private},
	}
}

// RepairRules are those under which one command, and nothing else, puts sound
// bytes in the place of damaged truth: the damaged file gets a second name below
// meta/host/cut first, so that no rule here takes a byte away.
func RepairRules() Rules {
	return Rules{
		{"log/log-*.jsonl", Replace | Source},
		{"blocks/open/*.blk", Replace | Source},
		{"blocks/sealed/*/*.blk", Replace | Source},
		{"meta/host/cut/*", Publish},
		{"meta/host/repairs", Replace},
	}
}
