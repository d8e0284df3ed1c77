#!/bin/sh
# rescue.sh: read and check this vault without the program. POSIX sh and GNU coreutils, nothing else.
#
#     sh rescue.sh OUT
#
# It reads the folder that it lies in, changes nothing there, and writes into OUT (empty, or made):
#
#     OUT/<64 hex>         every value, chunk, list and document found, named by its SHA-256, which is checked;
#                          a value stored in chunks also whole
#     OUT/keys.txt         one line a version: record, 64 hex (or `deleted`), key as it stands in the log
#     OUT/wal-groups.jsonl the newest records, where only wal/ holds them
#
# It recomputes the RFC 6962 root of the log and compares it with `checkpoint`. It prints a line for each damage
# (DAMAGED file: what) and ends with exit code 1 if there is any; 2 means that it could not work at all.
# It cannot check the checkpoint's signature, the state roots in commit lines, and the checksums in wal/.
#
# Method: the shell splits lines in memory. What is to be hashed goes to small files in OUT/.work, and one
# sha256sum reads thousands of them. basenc turns hex into bytes, many hashes at a time.

set -uf
LC_ALL=C
export LC_ALL
NL='
'
IFS=$NL
BATCH=4096
DAMAGE=0

die() {
	printf 'rescue.sh: %s\n' "$*" >&2
	exit 2
}
say() { printf '%s\n' "$*"; }
plain() { tr '\001-\011\013-\037\177' '?'; } # a file's name may hold what moves a terminal's cursor
note() { printf 'note    %s\n' "$*" | plain; }
bad() {
	DAMAGE=$((DAMAGE + 1))
	printf 'DAMAGED %s\n' "$*" | plain
}

case ${1-} in
'' | -h | --help) die "usage: sh rescue.sh OUT   (OUT: the folder to write to)" ;;
/*) OUT=$1 ;;
*) OUT=./$1 ;;
esac
[ $# = 1 ] || die "one argument wanted, the folder OUT; got $#"
for tool in sha256sum basenc base64 split head tail tr cut sort join paste wc cat cp mv rm mkdir ls yes; do
	command -v "$tool" >/dev/null || die "$tool is missing: GNU coreutils 8.31 or newer are needed"
done
mkdir -p -- "$OUT" || die "cannot make $OUT"
OUT=$(cd -- "$OUT" && pwd -P) || die "cannot enter $1"
[ -z "$(ls -A -- "$OUT")" ] || die "$1 holds something; choose an empty folder, or one that is yet to be made"
case $0 in */*) VAULT=${0%/*} ;; *) VAULT=. ;; esac
case $OUT in *"$NL"*) die "$OUT: choose a folder without a line end in its path" ;; esac
cd -- "${VAULT:-/}" || die "cannot enter $VAULT"
[ -d log ] && [ -d blocks ] || die "no log/ and blocks/ in $(pwd): rescue.sh must lie in a vault's folder"
W=$OUT/.work
trap 'cd / && rm -rf -- "$W"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
rm -rf -- "$W"
mkdir -- "$W" "$W/lines" "$W/leaf" "$W/group" "$W/commit" "$W/art" "$W/odd" "$W/spare" "$W/node" "$W/pairs" "$W/wal" ||
	die "cannot write in $OUT"
for file in leaves commits prevs groups sums list pos have bad.art wanted whole blocks opens; do
	: >"$W/$file" || die "cannot write in $OUT"
done

is_hex() { # WORD DIGITS: that many lower-case hex digits?
	case $1 in '' | *[!0-9a-f]*) return 1 ;; esac
	[ ${#1} = "$2" ]
}
is_num() { # WORD: a decimal number, in a range that every shell can count in?
	case $1 in 0) return 0 ;; '' | 0* | *[!0-9]*) return 1 ;; esac
	[ ${#1} -le 16 ]
}
files() { # DIR PATTERN: sets found, the files of DIR that match, one a line in the order of their bytes
	set +f
	set -- "$1"/$2
	set -f
	found=
	for one in "$@"; do
		if [ -f "$one" ]; then found=$found$one$NL; fi
	done
}
empty() { rm -rf -- "$1" && mkdir -- "$1"; }
size_of() { wc -c <"$1" | tr -d ' '; }
each_line() { # FILE FUNCTION: calls FUNCTION for each line; nr counts from 1, at is its offset
	nr=0 at=0
	empty "$W/lines"
	split -C 1048576 -a 6 -- "$1" "$W/lines/"
	files "$W/lines" '*'
	for piece in $found; do
		for line in $(tr -d '\000' <"$piece"); do
			nr=$((nr + 1))
			"$2"
			at=$((at + ${#line} + 1))
		done
	done
}
member() { # NAME: sets got to the string member NAME of line, or to nothing
	got=
	case $line in *",\"$1\":\""*)
		got=${line#*",\"$1\":\""}
		got=${got%%\"*}
		;;
	esac
}

# ---- the log -----------------------------------------------------------------------------------------------
# Every line is a leaf. A commit line ends a group and names the SHA-256 of the group's other lines (`lines`)
# and the leaf hash of the commit line before it (`prev`). So each byte is pinned twice: in its group, and by
# the root in the checkpoint.

seq=0                 # number of the next record
committed=0           # records up to and with the last commit line
gap=                  # not empty: records are missing, so no root can be computed
group_seq=0           # where the group at hand begins: record, line, offset
group_nr=1 group_at=0
leaves_waiting=0      # leaves in W/leaf that are not hashed yet
groups_waiting=0      # the same for W/group and W/commit
trouble=              # complaints about the group at hand: they count only if it gets its commit line
loose=                # odd bytes: they count unless they lie behind the last whole group
genesis= vault= origin= class0=main
last_root= last_where=
tail_file= tail_at=0

hash_leaves() {
	[ $leaves_waiting -gt 0 ] || return 0
	(cd "$W/leaf" && set +f && sha256sum -- * | cut -c1-64) >>"$W/leaves"
	empty "$W/leaf"
	leaves_waiting=0
}
hash_groups() {
	[ $groups_waiting -gt 0 ] || return 0
	(cd "$W/commit" && set +f && sha256sum -- * | cut -c1-64) >>"$W/commits"
	(cd "$W/group" && sha256sum -c --quiet ../sums 2>/dev/null) >"$W/groups.bad"
	for failed in $(cat "$W/groups.bad"); do
		for one in $(cat "$W/groups"); do
			if [ "${one%% *}" = "${failed%%:*}" ]; then
				bad "${one#* }: edited: these lines do not have the hash that their commit line names"
			fi
		done
	done
	empty "$W/group"
	empty "$W/commit"
	: >"$W/sums"
	: >"$W/groups"
	groups_waiting=0
}
log_line() {
	if [ $leaves_waiting -ge $BATCH ]; then hash_leaves; fi
	leaves_waiting=$((leaves_waiting + 1))
	printf '\000%s' "$line" >"$W/leaf/$((100000 + leaves_waiting))"
	case $line in
	'{"v":'[0-9]*',"kind":"'[a-z]*'","seq":'"$seq"[,\}]*) ;;
	*) misplaced ;;
	esac
	if [ $group_seq = $seq ]; then group_nr=$nr group_at=$at; fi
	group_name=$((100000 + groups_waiting))
	case $line in
	'{"v":1,"kind":"commit",'*)
		commit_line
		;;
	*)
		printf '%s\n' "$line" >>"$W/group/$group_name"
		case $line in
		'{"v":1,"kind":"block",'*) printf '%s %s\n' $seq "$line" >>"$W/blocks" ;;
		esac
		;;
	esac
	seq=$((seq + 1))
}
misplaced() { # a line without the seq that its place gives it; of lines all shifted alike only the first is told
	own=${line#*',"seq":'}
	own=${own%%[!0-9]*}
	is_num "$own" || own=-1
	if [ $((own - seq)) != $shift ] || [ $own = -1 ]; then
		trouble="$trouble$f: line $nr (offset $at): record $seq must be here$NL"
	fi
	shift=$((own - seq))
}
commit_line() {
	for one in $trouble; do bad "$one"; done
	trouble=
	printf '\000%s' "$line" >"$W/commit/$group_name"
	: >>"$W/group/$group_name"
	member lines
	if is_hex "${got#sha256:}" 64; then
		printf '%s  %s\n' "${got#sha256:}" $group_name >>"$W/sums"
	else
		bad "$f: line $nr (offset $at): a commit line without \`lines\`"
	fi
	printf '%s %s\n' $group_name "$f: lines $group_nr-$nr (records $group_seq-$seq, offset $group_at)" >>"$W/groups"
	member prev
	last_where="$f: line $nr (record $seq, offset $at)"
	printf '%s %s\n' "${got:--}" "$last_where" >>"$W/prevs"
	member root
	last_root=$got
	committed=$((seq + 1)) group_seq=$((seq + 1)) tail_file=$f tail_at=$((at + ${#line} + 1))
	groups_waiting=$((groups_waiting + 1))
	if [ $groups_waiting -ge $BATCH ]; then hash_groups; fi
}
break_chain() { # WHY: what follows does not continue what was read
	bad "$1"
	gap=1 trouble=
	rm -f -- "$W/group/$((100000 + groups_waiting))"
	hash_groups
	printf '%064d\n' 0 >>"$W/commits"
	say gap >>"$W/prevs"
}
read_genesis() { # without it an open block tells to which vault the files belong
	line=
	f=log/log-0000000000000000.jsonl
	if [ -f $f ]; then IFS= read -r line <$f; fi
	case $line in '{"v":1,"kind":"genesis","seq":0,'*)
		genesis=1
		member origin
		origin=$got
		member class
		class0=$got
		member vault
		vault=$got
		;;
	esac
	is_hex "$vault" 32 && return
	files blocks/open '*.blk'
	for f in $found; do IFS=' ' read -r one one vault one <"$f"; done
}
log_file() { # sets first; false if the name is not that of a log file
	first=${f#log/log-}
	first=${first%.jsonl}
	is_hex "$first" 16 && first=$((0x$first))
}
read_log() {
	files log '*'
	for f in $found; do
		case $f in log/current | log/.new-*) continue ;; esac
		if ! log_file; then
			note "$f: this name is not that of a log file; it is not read"
			continue
		fi
		if [ $first -gt $seq ]; then
			break_chain "$f begins with record $first: records $seq-$((first - 1)) are missing; a log file is lost or cut short"
		elif [ $first -lt $seq ]; then
			break_chain "$f begins with record $first, but the files before it hold $seq records"
		fi
		seq=$first group_seq=$first shift=0
		odd=$(tr -d '\n\040-\377' <"$f" | wc -c)
		if [ "$odd" -gt 0 ]; then
			odd_at=$(($(tr '\n' ' ' <"$f" | tr '\000-\037' '\n' | head -n 1 | wc -c) - 1))
			loose="$loose$first $odd_at $f: offset $odd_at: control characters, which no record has$NL"
		fi
		each_line "$f" log_line
		ends=$(wc -l <"$f")
		if [ -s "$f" ] && [ "$(tail -c 1 -- "$f" | wc -l)" -eq 0 ]; then
			ends=$((ends + 1)) odd_at=$((at - ${#line} - 1))
			loose="$loose$first $odd_at $f: line $nr (offset $odd_at): it has no end$NL"
		fi
		if [ $((ends)) -ne $nr ]; then bad "$f: $((ends - nr)) empty lines, which a log never has"; fi
	done
	hash_leaves
	hash_groups
	total=$seq
	[ -n "$genesis" ] || bad "log/: there is no genesis record"
}
check_chain() { # prev of each commit line = leaf hash of the one before
	[ -s "$W/commits" ] || return 0
	yes 00 2>/dev/null | head -n "$(wc -l <"$W/commits")" >"$W/zeros"
	# 33 bytes (a hash and a zero) are 44 characters: the first 43 are those of the hash alone, followed by `=`.
	paste -d '\0' "$W/commits" "$W/zeros" | tr -d '\n' | tr a-f A-F | basenc -d --base16 | base64 -w 44 | cut -c1-43 >"$W/commits64"
	before=start
	for one in $(paste -d ' ' "$W/commits64" "$W/prevs"); do
		hash=${one%% *} one=${one#* }
		prev=${one%% *} where=${one#* }
		case $prev in gap)
			before=gap
			continue
			;;
		esac
		case $before in
		gap) ;;
		start) [ "$prev" = - ] || bad "$where: the first commit line names another before it" ;;
		*) [ "$prev" = "$before=" ] || bad "$before_where: edited: the next commit line (${where#*: }) names another leaf hash" ;;
		esac
		before=$hash before_where=$where
	done
}

# ---- the tree ----------------------------------------------------------------------------------------------
# Pairs of hashes become their parent, SHA-256(0x01 left right); the last of an odd number moves up as it is.

root_of() { # SIZE: sets root, in base64
	head -n "$1" "$W/leaves" >"$W/level"
	[ "$1" -gt 0 ] || sha256sum </dev/null | cut -c1-64 >"$W/level"
	yes 01 2>/dev/null | head -n $BATCH >"$W/ones"
	left=$1
	while [ "$left" -gt 1 ]; do
		found=$W/level
		if [ "$left" -gt $((2 * BATCH)) ]; then
			empty "$W/pairs"
			split -l $((2 * BATCH)) -a 6 "$W/level" "$W/pairs/"
			files "$W/pairs" '*'
		fi
		above=0
		for piece in $found; do
			n=$((left - 2 * above))
			if [ $n -gt $((2 * BATCH)) ]; then n=$((2 * BATCH)); fi
			head -n $((n / 2 * 2)) "$piece" | paste -d '\0\n' - - >"$W/pair"
			head -n $((n / 2)) "$W/ones" | paste -d '\0' - "$W/pair" | tr a-f A-F | basenc -d --base16 | split -b 65 -a 4 - "$W/node/"
			(cd "$W/node" && set +f && [ -f aaaa ] && sha256sum -- * | cut -c1-64)
			if [ $((n % 2)) = 1 ]; then tail -n 1 "$piece"; fi
			empty "$W/node"
			above=$((above + n / 2))
		done >"$W/above"
		mv -f "$W/above" "$W/level"
		left=$(((left + 1) / 2))
	done
	root=$(tr -d '\n' <"$W/level" | tr a-f A-F | basenc -d --base16 | base64)
}
check_roots() {
	covered= cp_root= cp_end= cp_signature=
	if [ -f checkpoint ]; then
		{
			IFS= read -r cp_origin
			IFS= read -r covered
			IFS= read -r cp_root
			IFS= read -r cp_end
			IFS= read -r cp_signature
		} <checkpoint
		case $cp_end$cp_signature in "— "*' '*) ;; *) bad "checkpoint: it has no signature" ;; esac
		is_num "$covered" || { bad "checkpoint: line 2 is not a size" && covered=; }
		case $origin in *\\*) ;; *) [ "$cp_origin" = "$origin" ] || bad "checkpoint: line 1 is \"$cp_origin\", the log's origin is \"$origin\"" ;; esac
	else
		bad "checkpoint: it is missing, so the root has nothing to agree with"
	fi
	if [ -n "$gap" ]; then
		say "root    cannot be computed: records are missing"
		return
	fi
	at_size=${covered:-$committed}
	if [ $at_size -gt $committed ]; then
		bad "log/: the checkpoint covers $covered records, the log holds $committed in whole groups"
		at_size=$committed
	fi
	root_of $at_size
	say "root    $root"
	say "        recomputed from the first $at_size of $total records"
	if [ "${covered:--}" = $at_size ] && [ "$cp_root" != "$root" ]; then
		bad "checkpoint: its root for $covered records is $cp_root, that of the log is $root: the log or the checkpoint was changed"
	fi
	if [ $committed -gt $at_size ]; then
		root_of $((committed - 1))
		if [ "$root" = "$last_root" ]; then
			say "        and from the $((committed - 1)) before the last commit line, which agrees"
		else
			bad "$last_where: its root is $last_root, that of the records before it is $root"
		fi
	fi
}
check_tail() { # what lies behind the last whole group; none of it was acknowledged, unless wal/ holds it too
	clean=
	if [ -f meta/host/clean ]; then IFS=' ' read -r word clean <meta/host/clean; fi
	[ "${word-}" = clean ] && is_num "$clean" || clean=
	behind=
	for one in $loose; do
		first=${one%% *} where=${one#* * }
		one=${one#* }
		if [ $first -ge $committed ] || { [ "${where%%: *}" = "$tail_file" ] && [ "${one%% *}" -ge $tail_at ]; }; then
			behind=1
		else
			bad "$where"
		fi
	done
	if [ $total -gt $committed ] || [ -n "$behind" ]; then
		text="${tail_file:-log/}: offset $tail_at: $((total - committed)) lines behind the last whole group"
		if [ -n "$clean" ]; then bad "$text, although the vault was closed"; else note "$text: a write that was cut off"; fi
	fi
	if [ -n "$clean" ] && [ $clean != $committed ]; then
		bad "log/: the vault was closed with $clean records, the log holds $committed in whole groups"
	fi
}

# ---- artifacts ---------------------------------------------------------------------------------------------
# They are copied out of a block one after the other, hashed together, and moved to OUT if they are right.

arts=0
take() { # hex, start, len: bytes of an artifact that begin at the present place of descriptor 3
	if [ "$len" = 0 ]; then : >"$W/art/$hex"; else head -c "$len" <&3 >"$W/art/$hex"; fi || die "cannot write in $OUT"
	say "$hex  $hex" >>"$W/list"
	say "$hex $start $len" >>"$W/pos"
	arts=$((arts + 1))
	if [ $kind = spare ]; then : >"$W/spare/$hex"; fi
	if [ $arts -ge $BATCH ]; then check_taken; fi
}
check_taken() {
	[ $arts -gt 0 ] || return 0
	(cd "$W/art" && sha256sum -c --quiet ../list 2>/dev/null) >"$W/list.bad"
	for failed in $(cat "$W/list.bad"); do
		failed=${failed%%:*}
		actual=$(sha256sum <"$W/art/$failed")
		mv -f -- "$W/art/$failed" "$W/odd/${actual%% *}"
		for place in $(cat "$W/pos"); do
			if [ "${place%% *}" = "$failed" ]; then say "$place ${actual%% *} $kind $f" >>"$W/bad.art"; fi
		done
	done
	(cd "$W/art" && set +f && set -- * && [ -f "$1" ] && say "$@" >>../have && mv -f -- "$@" "$OUT/")
	empty "$W/art"
	: >"$W/list"
	: >"$W/pos"
	arts=0
}
frames() { # reads frames from descriptor 3, from offset off to end; sets count, off, and stop if it ended before
	count=0 stop=
	while [ $off -lt $end ]; do
		IFS= read -r frame <&3 || stop="a line has no end"
		case $frame in 'toc '*) stop=toc ;; esac
		hex=${frame#sha256:}
		len=${hex#* } hex=${hex%% *} start=$((off + ${#frame} + 1))
		if [ -z "$stop" ]; then
			if ! is_hex "$hex" 64 || ! is_num "$len" || [ "$frame" != "sha256:$hex $len" ]; then
				stop="no artifact's header line, where one must be"
			elif [ $((start + len + 1)) -gt $end ]; then
				stop="sha256:$hex of $len bytes does not end before the file does"
			fi
		fi
		[ -z "$stop" ] || break
		take
		IFS= read -r rest <&3 || rest=none
		if [ -n "$rest" ]; then
			stop="no line end behind the $len bytes of sha256:$hex"
			break
		fi
		off=$((start + len + 1)) count=$((count + 1))
	done
}
block_header() { # WANTED: reads the first line of f from descriptor 3
	head= off=0
	if [ $end -gt 0 ]; then IFS= read -r head <&3; fi
	off=$((${#head} + 1))
	case $head in "$1" | "$1 "*) return 0 ;; esac
	return 1
}
sealed_block() { # f, is: the SHA-256 that the file has
	kind=sealed name=${f##*/}
	name=${name%.blk}
	if ! is_hex "$name" 64 || [ "$f" != "blocks/sealed/${name%"${name#??}"}/$name.blk" ]; then
		note "$f: this name is not that of a sealed block; it is not read"
		return
	fi
	end=$(size_of "$f")
	exec 3<"$f"
	if block_header "graven-block 1 $vault"; then
		frames
	elif [ "$is" = "$name" ]; then
		note "$f: a block of another vault or version; it is not read"
		return
	else
		stop="no header line of a block of this vault"
		off=0
	fi
	exec 3<&-
	bad_before=$(wc -l <"$W/bad.art")
	check_taken
	[ "$is" != "$name" ] || return 0
	if [ "$stop" != toc ]; then
		bad "$f: offset $off: ${stop:-the file ends here, without its table of contents}; the file's hash is $is"
		by_contents
	elif [ "$bad_before" = "$(wc -l <"$W/bad.art")" ]; then
		bad "$f: its artifacts are whole, but the file's hash is $is: its first line was changed, or what follows offset $off"
	fi
}
by_contents() { # takes what the table of contents of f names; for a block whose frames cannot be followed
	trailer=$(tail -c 32 -- "$f" | tr -d '\000')
	toc=${trailer#end } toc_count=${trailer##* }
	toc=${toc%% *}
	case $trailer in 'end '[0-9]*' '[0-9]*) ;; *) return ;; esac
	case $toc$toc_count in *[!0-9]*) return ;; esac
	[ ${#toc} = 16 ] && [ ${#toc_count} = 10 ] || return
	toc=${toc#"${toc%%[!0]*}"} toc_count=${toc_count#"${toc_count%%[!0]*}"}
	[ "${toc:-0}" -lt "$end" ] || return
	for entry in $(tail -c +$((${toc:-0} + 1)) -- "$f" | tr -d '\000' | head -n $((${toc_count:-0} + 1)) | tail -n +2); do
		hex=${entry%% *} len=${entry##* } start=${entry#* }
		start=${start%% *}
		if is_hex "$hex" 64 && is_num "$start" && is_num "$len" && [ ! -f "$OUT/$hex" ]; then take_at; fi
	done
	check_taken
}
take_at() { # hex, start, len: takes an artifact from anywhere in f
	tail -c +$((start + 1)) -- "$f" | head -c "$len" >"$W/part"
	exec 3<"$W/part"
	take
	exec 3<&-
}
chunk_block() { # f: a chunk block that its transaction made durable, before it got its place under sealed/
	kind=sealed end=$(size_of "$f")
	exec 3<"$f"
	if block_header "graven-block 1 $vault"; then frames; fi
	exec 3<&-
	check_taken
}
open_block() { # f: notes class, number, count, off, end in W/opens
	kind=open class=${f#blocks/open/}
	class=${class%.blk}
	digits=${class##*-} class=${class%-*}
	case $digits in '' | *[!0-9]*) digits= ;; esac
	if [ ${#digits} != 8 ]; then
		note "$f: this name is not that of an open block; it is not read"
		return
	fi
	number=${digits#"${digits%%[!0]*}"}
	number=${number:-0} end=$(size_of "$f") count=0
	exec 3<"$f"
	if block_header "graven-block 1 $vault $class $number"; then
		frames
	else
		stop="no header line of block $number of class $class of this vault"
	fi
	exec 3<&-
	check_taken
	if [ "$stop" = toc ]; then end=$off; fi
	say "$class $number $count $off $end $stop" >>"$W/opens"
}
read_blocks() {
	set +f
	set -- blocks/sealed/*
	set -f
	for dir in "$@"; do
		[ -d "$dir" ] || continue
		files "$dir" '*'
		[ -n "$found" ] || continue
		for one in $(sha256sum -- $found | tr -d '\\'); do
			is=${one%% *} f=${one#*  }
			sealed_block
		done
	done
	files blocks/open '*.blk'
	for f in $found; do open_block; done
	files blocks/healed '*/*'
	for f in $found; do
		hex=${f##*/}
		if is_hex "$hex" 64 && [ ! -f "$OUT/$hex" ]; then
			kind=healed start=0 len=$(size_of "$f")
			exec 3<"$f"
			take
			exec 3<&-
			check_taken
		fi
	done
}
block_record() { # one: seq and line of a block record; the file that it names must be there
	[ "${one%% *}" -lt $committed ] || return 0
	line=${one#* }
	member id
	name=${got#sha256:}
	is_hex "$name" 64 || return 0
	f=blocks/sealed/${name%"${name#??}"}/$name.blk
	[ ! -f "$f" ] || return 0
	if [ -f "blocks/open/up-$name" ]; then
		f=blocks/open/up-$name
		chunk_block
	else
		bad "$f: it is missing; record ${one%% *} names it"
	fi
}

# ---- what the log mentions ---------------------------------------------------------------------------------
# Strings hold no `"`, so cutting a line at each `"` gives structure and strings in turn.

limit=0
mention() { # CLASS HEX SIZE: an artifact of the numbered blocks of a class; SIZE is - where the log does not say it
	if is_hex "$2" 64; then say "$1 $2 $3 $seq" >>"$W/wanted"; fi
}
op_end() { # the op that was read
	case $op in
	put | append)
		if [ -n "$chunks" ]; then
			say "$chunks $value $size $seq" >>"$W/whole"
		else
			mention "$class" "$value" "$size"
		fi
		if [ $op = put ]; then printf '%s\n' "$seq $value $space$key" >&6; fi
		;;
	delete) printf '%s\n' "$seq deleted $space$key" >&6 ;;
	esac
}
read_ops() { # LINE: a tx record or an op line
	IFS='"'
	set -- $1
	IFS=$NL
	op= chunks=
	while [ $# -gt 2 ]; do
		case "$2|$3" in
		'op|:')
			op_end
			op=$4 chunks= value= size= key= space=
			;;
		'if|:{') shift 2 ;; # its one member is not the op's
		'space|:') space=$4: ;;
		'key|:') key="\"$4\"" ;;
		'key64|:') key=b64:$4 ;;
		'value|:') value=${4#sha256:} ;;
		'chunks|:') chunks=${4#sha256:} ;;
		'class|:') [ -n "$op" ] || class=$4 ;;
		'lines|:') [ -n "$op" ] || wide=${4#sha256:} ;;
		'size|:'*)
			size=${3#:}
			size=${size%%[!0-9]*}
			;;
		esac
		shift 2
	done
	op_end
}
mention_line() {
	[ $seq -lt $limit ] || return 0
	case $line in
	'{"v":1,"kind":"tx",'*)
		class=$class0 wide= size=-
		read_ops "$line"
		if is_hex "$wide" 64; then
			mention log "$wide" "$size"
			if [ -f "$OUT/$wide" ]; then
				for op_line in $(cat -- "$OUT/$wide"); do read_ops "$op_line"; done
			else
				unread="$unread$seq "
			fi
		fi
		;;
	'{"v":1,"kind":"genesis",'*)
		member authority
		mention log "${got#sha256:}" -
		member policy
		mention log "${got#sha256:}" -
		;;
	'{"v":1,"kind":"authority",'* | '{"v":1,"kind":"policy",'* | '{"v":1,"kind":"witness",'*)
		member doc
		mention log "${got#sha256:}" -
		;;
	esac
	seq=$((seq + 1))
}
read_mentions() {
	: >"$W/wanted"
	: >"$W/whole"
	unread=
	exec 6>"$OUT/keys.txt"
	files log 'log-*'
	for f in $found; do
		if log_file; then
			seq=$first limit=$committed
			each_line "$f" mention_line
		fi
	done
	# Each artifact once per class, in the order of first mention: what the numbered blocks of the class hold.
	if [ -s "$W/wanted" ]; then
		tr ' ' '\t' <"$W/wanted" | cat -n | sort -u -k2,3 | sort -n | cut -f2- | tr '\t' ' ' >"$W/once"
	else
		: >"$W/once"
	fi
	# Also what only wal/ mentions; it stands in no open block.
	seq=$committed limit=$((committed + 1000000000))
	if [ -f "$OUT/wal-groups.jsonl" ]; then each_line "$OUT/wal-groups.jsonl" mention_line; fi
	exec 6>&-
}

# ---- wal/ --------------------------------------------------------------------------------------------------
# The newest groups, each a frame: a header line, the group's log lines, and its artifacts by class. After a
# crash a group may stand only here. Its checksum (xxHash64) is beyond the shell, but its commit line is not.

read_wal() { # EVERY: not empty: take the artifacts of all groups, not only of those that the log lacks
	files wal 'wal-*'
	for f in $found; do
		kind=spare
		text=$(tr '\000\n' '\n\001' <"$f") # what is left ends where the zeros begin
		end=${#text} text= off=0 generation=
		[ "$end" -gt 0 ] || continue
		head -c "$end" -- "$f" >"$W/frames"
		exec 3<"$W/frames"
		while [ $off -lt "$end" ] && IFS= read -r frame <&3; do
			IFS=' '
			set -- "${1-}" $frame
			IFS=$NL
			[ $# = 15 ] && [ "$2 $3 $4" = "graven-wal 1 $vault" ] && [ "${generation:-$5}" = "$5" ] || break
			is_num "$7" && is_num "$8" && is_num "${11}" && is_num "${12}" && is_num "${13}" && is_num "${14}" || break
			generation=$5 body=$((off + ${#frame} + 1)) next=$((off + ${#frame} + 1 + ${14}))
			if [ $next -gt "$end" ]; then
				note "$f: offset $off: the records from $8 on are cut off here: a write that was not finished"
				break
			fi
			if [ -n "$1" ] || [ $(($8 + ${11})) -gt $committed ]; then
				wal_group "$7" "$8" "${11}" "${12}" "${13}" || break
			else
				head -c "${14}" <&3 >/dev/null
			fi
			off=$next
			set -- "$1"
		done
		exec 3<&-
		check_taken
	done
}
wal_group() { # HEIGHT FIRST RECORDS LENGTH SECTIONS: a frame's body, at descriptor 3
	group=$W/wal/$(printf '%016d' "$1")
	head -c "$4" <&3 >"$group"
	line=$(tail -n 1 "$group")
	member lines
	is=$(head -n $(($3 - 1)) "$group" | sha256sum)
	if [ "$got" != "sha256:${is%% *}" ] || [ "$(wc -l <"$group")" -ne "$3" ]; then
		note "$f: offset $off: records $2-$(($2 + $3 - 1)) are torn: a write that was not finished, or damage"
		rm -f -- "$group"
		return 1
	fi
	if [ $(($2 + $3)) -gt $committed ]; then
		say "$2 $3 $f: offset $off" >"$group.at"
	else
		rm -f -- "$group"
	fi
	wal_off=$off wal_end=$end sections=$5 off=$body
	off=$((off + $4))
	while [ "$sections" -gt 0 ]; do
		IFS= read -r section <&3 || return 1
		length=${section##* } from=${section#block * * }
		from=${from%% *} off=$((off + ${#section} + 1))
		end=$((off + length))
		if [ "$from" = 0 ]; then
			IFS= read -r head <&3
			off=$((off + ${#head} + 1))
		fi
		frames
		sections=$((sections - 1))
	done
	off=$wal_off end=$wal_end
}
newest_groups() { # those that the log lacks, in order, to OUT/wal-groups.jsonl
	rm -f -- "$OUT/wal-groups.jsonl"
	[ -z "$clean" ] || return 0
	read_wal ''
	expect=$committed
	files "$W/wal" '*.at'
	for one in $found; do
		at=$(cat "$one")
		first=${at%% *} at=${at#* }
		n=${at%% *} at=${at#* }
		if [ "$first" -lt $expect ]; then continue; fi
		if [ "$first" -gt $expect ]; then
			bad "$at: it begins with record $first, but log/ and wal/ hold only $expect before it"
			break
		fi
		note "$at: records $first-$((first + n - 1)) stand only here; see OUT/wal-groups.jsonl"
		cat -- "${one%.at}" >>"$OUT/wal-groups.jsonl"
		expect=$((first + n))
	done
}

# ---- the verdict -------------------------------------------------------------------------------------------

# open_blocks MODE [CLASS]: the open blocks of a class hold, in order, the artifacts that the log mentions behind
# those in sealed blocks. So where a frame cannot be read, the log says what it must be and how long it is.
# MODE take: take the artifacts behind such a place. MODE judge: say what is wrong.
open_blocks() {
	for class in ${2:-$(cut -d ' ' -f 1 "$W/once" "$W/opens" | sort -u)}; do
		for one in $(cat "$W/once"); do
			case $one in "$class "*) say "${one#* }" ;; esac
		done >"$W/names"
		left=$(($(wc -l <"$W/names"))) next=0
		for one in $(cat "$W/blocks"); do
			case $one in *'"number":'*',"class":"'"$class"'"}')
				if [ "${one%% *}" -lt $committed ]; then
					one=${one##*\"count\":}
					drop "${one%%,*}"
					next=$((next + 1))
				fi
				;;
			esac
		done
		last_open=
		for one in $(cat "$W/opens"); do
			case $one in "$class "*) open_verdict "$1" ;; esac
		done
		f=blocks/open/$class-$(printf '%08d' $next).blk
		if [ "$1" = judge ] && [ $left -gt 0 ]; then
			if [ -n "$last_open" ]; then text="$last_open: it ends at offset $end"; else text="$f: it is missing"; fi
			unless_in_wal "$text, where $left more artifacts that the log names must be"
		fi
	done
}
unless_in_wal() { # TEXT: it is damage, unless wal/ holds the first of the artifacts that are left
	for name in $(tail -n $left "$W/names" | head -n 1); do
		if [ -f "$W/spare/${name%% *}" ]; then note "$1; wal/ holds them"; else bad "$1"; fi
	done
}
drop() { # N: N artifacts are accounted for
	[ "$1" -le $left ] || set -- $left
	left=$((left - $1))
}
open_verdict() { # MODE; one: class, number, count, off, end, stop
	one=${one#* }
	number=${one%% *} one=${one#* }
	count=${one%% *} one=${one#* }
	off=${one%% *} one=${one#* }
	end=${one%% *} stop=${one#* }
	[ "$number" -ge $next ] || return 0 # a sealed block's twin, about to be removed
	f=blocks/open/$class-$(printf '%08d' "$number").blk kind=open
	if [ "$1" = judge ] && [ "$number" -gt $next ]; then bad "blocks/open/: block $next of class $class is missing"; fi
	next=$((number + 1)) last_open=$f
	if [ "$count" -gt $left ] || { [ $left = "$count" ] && [ "$off" -lt "$end" ]; }; then
		text="$f: there is more in it than the log names (what can be read ends at offset $off, the file at $end)"
		if [ "$1" = take ]; then :; elif [ -n "$clean" ]; then bad "$text"; else note "$text: a write that was cut off"; fi
		left=0
		return
	fi
	drop "$count"
	if [ $left -gt 0 ] && [ "$off" -lt "$end" ]; then
		if [ "$1" = judge ]; then unless_in_wal "$f: offset $off: $stop"; fi
		for name in $(tail -n $left "$W/names"); do
			hex=${name%% *} len=${name#* }
			len=${len%% *}
			is_num "$len" || break
			start=$((off + 73 + ${#len}))
			[ $((start + len)) -le "$end" ] || break
			if [ "$1" = take ] && [ ! -f "$OUT/$hex" ]; then take_at; fi
			off=$((start + len + 1))
			drop 1
		done
		check_taken
	fi
}
unfound() { # W/missing: hex, class, size, record of what the log names and nothing holds
	sort -u "$W/have" >"$W/have.sorted"
	sort -u -k2,2 "$W/named" | join -v 1 -1 2 -2 1 - "$W/have.sorted" >"$W/missing"
}
find_missing() {
	cp "$W/wanted" "$W/named"
	for one in $(sort -u "$W/whole"); do
		list=${one%% *} seq=${one##* }
		say "- $list - $seq"
		if [ -f "$OUT/$list" ]; then
			for name in $(tr -d '\000' <"$OUT/$list" | tail -n +2); do
				name=${name#sha256:}
				say "- $name $seq"
			done
		fi
	done >>"$W/named"
	unfound
	for one in $(cat "$W/missing"); do
		hex=${one%% *}
		if [ -f "$W/odd/$hex" ]; then # found under a header line that names another hash
			mv -f -- "$W/odd/$hex" "$OUT/$hex"
			say "$hex" >>"$W/have"
		fi
	done
	unfound
}
judge_artifacts() {
	for one in $(sort -u "$W/bad.art"); do
		hex=${one%% *} one=${one#* }
		start=${one%% *} one=${one#* }
		len=${one%% *} one=${one#* }
		actual=${one%% *} one=${one#* }
		kind=${one%% *} f=${one#* }
		text="$f: offset $start: $len bytes that must be sha256:$hex are sha256:$actual"
		if [ -f "$OUT/$hex" ]; then text="$text; a good copy was found elsewhere"; fi
		case $kind in
		spare) continue ;;
		open)
			if [ -f "$W/spare/$hex" ]; then
				note "$text; wal/ holds it"
				continue
			fi
			;;
		esac
		bad "$text"
	done
	sort -u -k2,2 "$OUT/keys.txt" >"$W/keys"
	for one in $(join -t ' ' -a 1 -2 2 "$W/missing" "$W/keys"); do
		hex=${one%% *} one=${one#* }
		class=${one%% *} one=${one#* }
		len=${one%% *} one=${one#* }
		seq=${one%% *}
		case $one in *' '*' '*) key=", key ${one#* * }" ;; *) key= ;; esac
		bad "blocks/: sha256:$hex is missing ($len bytes, class $class, record $seq$key)"
	done
	for seq in $(printf %s "$unread" | tr ' ' '\n'); do
		bad "log/: what record $seq did is not known: the artifact of its ops is missing"
	done
}
join_chunks() {
	kind=whole
	for one in $(sort -u -k1,2 "$W/whole"); do
		list=${one%% *} one=${one#* }
		hex=${one%% *} one=${one#* }
		len=${one%% *} seq=${one#* }
		[ -f "$OUT/$list" ] && is_hex "$hex" 64 && [ ! -f "$OUT/$hex" ] || continue
		: >"$W/art/$hex"
		f="value of record $seq" start=0 text=
		for name in $(tr -d '\000' <"$OUT/$list"); do
			case $name in
			"graven-chunks 1 sha256:$hex $len "*) text=1 ;;
			sha256:*)
				chunk=${name#sha256:}
				chunk=${chunk%% *}
				is_hex "$chunk" 64 && [ -f "$OUT/$chunk" ] && cat -- "$OUT/$chunk" >>"$W/art/$hex" || text=
				;;
			esac
			[ -n "$text" ] || break
		done
		if [ -z "$text" ]; then
			bad "$f: sha256:$hex of $len bytes cannot be put together from its list sha256:$list"
			rm -f -- "$W/art/$hex"
			continue
		fi
		say "$hex  $hex" >>"$W/list"
		say "$hex 0 $len" >>"$W/pos"
		arts=$((arts + 1))
		check_taken
	done
}

read_genesis
read_blocks # first, while the shell is small and starts processes fast
read_log
check_tail
check_chain
check_roots
newest_groups
for one in $(cat "$W/blocks"); do block_record; done
read_mentions
if [ -n "$unread" ]; then
	open_blocks take log
	[ -n "$clean" ] || read_wal every
	read_mentions
fi
[ -n "$gap$unread" ] || open_blocks take
find_missing
if [ -z "$clean" ] && { [ -s "$W/missing" ] || [ -s "$W/bad.art" ] || [ -n "$(cut -d ' ' -f 6 "$W/opens" | tr -d '\n')" ]; }; then
	read_wal every
	find_missing
fi
if [ -z "$gap$unread" ]; then
	open_blocks judge
else
	for one in $(cat "$W/opens"); do
		case $one in *' '*' '*' '*' '*' '?*) note "blocks/open: $one" ;; esac
	done
fi
join_chunks
judge_artifacts
say "log     $committed records in whole groups"
say "found   $(sort -u "$W/have" | wc -l | tr -d ' ') artifacts, each with the hash that its name says; versions of keys: OUT/keys.txt"
if [ $DAMAGE -gt 0 ]; then
	say "result  DAMAGED: $DAMAGE findings above"
	exit 1
fi
say "result  whole: every record, every group and every artifact that the log names"
