#!/usr/bin/env python3
"""An independent reader of a Graven vault, written from format.md alone ("§" names its sections).

Usage: python3 docs/reader.py VAULT-FOLDER... Replays log/ and blocks/ of vaults that were closed cleanly, checks
them, and prints size, root and state root of each. Not checked: signatures (§2.2, §2.5, §7), authorities (§3), conditions (§2.2),
order and types of fields (§2), where log files end (§4), the order of artifacts (§5.1), chunk lists (§5.3), tiles, the WAL.
"""
import base64, datetime, hashlib, json, os, re, sys

KINDS = "genesis/1 tx/1 commit/1 block/1 segment/1 snapshot/1 authority/1 policy/1 witness/1".split()
FRAME = re.compile(rb'\{"v":(0|[1-9]\d{0,15}),"kind":"([a-z][a-z0-9-]{0,31})","seq":(0|[1-9]\d{0,15}),'
                   rb'"time":"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9})Z"(,.*)?\}', re.S)
ESCAPED = re.compile('["\\\\\x00-\x1f\x7f-\x9f]')
BAD = (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError)     # what bad input may raise

def check(ok, what):
    if not ok:
        raise ValueError(what)
def sha(data):
    return hashlib.sha256(data).digest()
def b64(data):
    return base64.b64encode(data).decode()

def canonical(value):                   # §2: the one encoding of a JSON value
    if type(value) is str:
        return '"' + ESCAPED.sub(lambda m: "\\u%04x" % ord(m[0]), value) + '"'
    if type(value) is int and 0 <= value < 2**53:
        return str(value)
    if value is True:
        return "true"
    if type(value) is list:
        return "[" + ",".join(canonical(v) for v in value) + "]"
    check(type(value) is dict, "a value that no record has")
    return "{" + ",".join(canonical(k) + ":" + canonical(v) for k, v in value.items()) + "}"

def parse(line):
    value = json.loads(line.decode())
    check(canonical(value).encode() == line, "not the canonical encoding")
    return value

class Merkle:                           # §6: the RFC 6962 tree over lines, kept as the roots of its full subtrees
    def __init__(self, lines=()):
        self.size, self.full = 0, []
        for line in lines:
            self.append(line)

    def append(self, line):
        node, rest = sha(b"\0" + line), self.size
        while rest & 1:
            node, rest = sha(b"\1" + self.full.pop() + node), rest >> 1
        self.full.append(node)
        self.size += 1

    def root(self):
        node = self.full[-1] if self.full else sha(b"")
        for left in reversed(self.full[:-1]):
            node = sha(b"\1" + left + node)
        return b64(node)

class Leaf:                             # §9: the newest version of a key whose versions are at seqs
    def __init__(self, stored, op_line, seqs, live):
        numbers = b"".join(n.to_bytes(8, "big") for n in (seqs[-1], len(seqs), seqs[0]))     # seq, n, created
        key = len(stored).to_bytes(2, "big") + stored
        self.digest = sha(b"\x10" + key + sha(b"\0" + op_line) + numbers + bytes([live]))
        self.key, self.live, self.height = stored, live, 0

class Inner:                            # §9; key is the routing key; the hash waits until a commit asks for it
    def __init__(self, key, left, right):
        self.key, self.left, self.right, self.digest = key, left, right, None
        self.live, self.height = left.live + right.live, 1 + max(left.height, right.height)

def node_hash(node):
    if node.digest is None:
        sides = [node_hash(c) + c.live.to_bytes(8, "big") + bytes([c.height]) for c in (node.left, node.right)]
        node.digest = sha(b"\x11" + b"".join(sides) + len(node.key).to_bytes(2, "big") + node.key)
    return node.digest

def insert(tree, leaf):                 # §9: the tree with one leaf inserted or replaced
    if tree is None or tree.height == 0 and tree.key == leaf.key:
        return leaf
    if tree.height == 0:
        left, right = (tree, leaf) if tree.key < leaf.key else (leaf, tree)
        return Inner(next(right.key[:n] for n in range(1026) if right.key[:n] > left.key), left, right)
    if leaf.key < tree.key:
        return balanced(tree.key, insert(tree.left, leaf), tree.right)
    return balanced(tree.key, tree.left, insert(tree.right, leaf))

def balanced(key, left, right):         # §9: an inner node, rotated where its children's heights differ by 2
    if left.height == right.height + 2:
        inner = left.right
        if inner.height > left.left.height:
            left = Inner(inner.key, Inner(left.key, left.left, inner.left), inner.right)
        return Inner(left.key, left.left, Inner(key, left.right, right))
    if right.height == left.height + 2:
        inner = right.left
        if inner.height > right.right.height:
            right = Inner(inner.key, inner.left, Inner(right.key, inner.right, right.right))
        return Inner(right.key, Inner(key, left, right.left), right.right)
    return Inner(key, left, right)

JUMP = [0, 0]
def jump(n):                            # §2.2: j(n)
    while len(JUMP) <= n:
        p, j = len(JUMP) - 1, JUMP[-1]
        JUMP.append(JUMP[j] if p - j == j - JUMP[j] else p)
    return JUMP[n]

def stored_key(op):                     # §2.2: the space byte and the key
    key = op["key"].encode() if "key" in op else base64.b64decode(op["key64"])
    check(1 <= len(key) <= 1024 and ("key" in op or b64(key) == op["key64"]) and op.get("space") != "6b", "key or space")
    return bytes.fromhex(op.get("space", "6b")) + key

def read_log(folder):                   # §4: all lines, in the order of the files
    lines = []
    for name in sorted(n for n in os.listdir(folder + "/log") if not n.startswith(".") and n != "current"):
        check(name == "log-%016x.jsonl" % len(lines), "log/%s: does not begin at record %d" % (name, len(lines)))
        data = open(folder + "/log/" + name, "rb").read()
        check(data.endswith(b"\n") or not data, "log/%s: the last line has no end" % name)
        lines += data.split(b"\n")[:-1]
    return lines

class Vault:
    def __init__(self, folder):
        self.folder, self.id, self.time, self.tree = folder, None, "", Merkle()
        self.commit, self.commit_hash, self.numbers = {"height": -1, "epoch": 0, "seq": -1}, None, {}   # the newest ones
        self.group, self.spaces, self.seqs = hashlib.sha256(), {}, {}   # group's lines; trees; versions of each key
        self.sealed, self.sizes, self.texts = {}, {}, {}    # blocks of a class; artifacts: size; bytes, if class log

    def read(self):
        lines = read_log(self.folder)
        self.each(lines, self.sealed_block)     # the blocks first: wide op lines lie there
        for name in sorted(os.listdir(self.folder + "/blocks/open")):
            match = re.fullmatch(r"([a-z0-9][a-z0-9._-]{0,62})-(\d{8})\.blk", name)
            if match and int(match[2]) >= self.sealed.get(match[1], 0):
                self.read_block("blocks/open/" + name, match[1], int(match[2]), None)
        self.each(lines, self.record)
        check(lines and self.commit["seq"] == len(lines) - 1, "log/: no commit behind record %d" % (len(lines) - 1))

    def each(self, lines, do):
        for seq, line in enumerate(lines):
            try:
                do(line)
            except BAD as e:
                raise ValueError("log/, record %d: %s" % (seq, e if type(e) is ValueError else repr(e)))

    def sealed_block(self, line):       # §2.4, §5.2, §5.3
        self.id = self.id or parse(line)["vault"]           # record 0 is genesis
        if line.startswith(b'{"v":1,"kind":"block",'):
            block = parse(line)
            class_, number, name = block["class"], block.get("number"), block["id"][7:]
            check(number in (None, self.sealed.get(class_, 0)), "number of the block")
            self.sealed[class_] = self.sealed.get(class_, 0) + (number is not None)
            self.read_block("blocks/sealed/%s/%s.blk" % (name[:2], name), class_, number, block)

    def read_block(self, path, class_, number, seal):   # §5; seal is its block record, None for an open block
        with open(self.folder + "/" + path, "rb") as f:
            header = "graven-block 1 %s %s" % (self.id, class_) + ("" if number is None else " %d" % number)
            check(f.readline() == header.encode() + b"\n", path + ": header")
            toc, count, line = b"", 0, f.readline()
            while line and not line.startswith(b"toc "):
                match = re.fullmatch(rb"sha256:([0-9a-f]{64}) (0|[1-9]\d{0,9})\n", line)
                check(match, "%s: frame %d" % (path, count))
                toc += b"%s %d %d\n" % (match[1], f.tell(), int(match[2]))
                data, id_ = f.read(int(match[2])), "sha256:" + match[1].decode()
                check(f.read(1) == b"\n" and sha(data).hex() == id_[7:], "%s: length or hash of frame %d" % (path, count))
                self.sizes[id_], self.texts[class_, id_] = len(data), data if class_ == "log" else None
                count, line = count + 1, f.readline()
            if seal:
                toc = b"toc %d\n" % count + toc + b"end %016d %010d\n" % (f.tell() - len(line), count)
                check(line + f.read() == toc, path + ": table of contents")
                check(seal["count"] == count and seal["size"] == f.tell(), path + ": count or size")
                f.seek(0)
                check("sha256:" + sha(f.read()).hex() == seal["id"], path + ": hash")

    def record(self, line):             # §2: the frame, then what the kind means
        frame = FRAME.fullmatch(line)
        check(frame and len(line) <= 65535 and min(line.decode()) >= " ", "no valid frame")
        kind, time = frame[2].decode() + "/" + frame[1].decode(), frame[4].decode()
        check(int(frame[3]) == self.tree.size, "seq is %d" % int(frame[3]))
        check(datetime.datetime.fromisoformat(time[:19]) and time >= self.time, "time goes back")
        check((kind == "genesis/1") == (self.tree.size == 0), "genesis belongs at 0, and nothing else")
        record, self.time = parse(line) if kind in KINDS else {}, time
        if kind == "genesis/1":
            self.genesis, self.features = record, record["features"]
            self.policy(record["policy"])
        elif kind in ("authority/1", "policy/1", "witness/1"):      # §2.5
            self.numbers[kind] = self.numbers.get(kind, 0) + 1
            check(record["number"] == self.numbers[kind] and ("log", record["doc"]) in self.texts, "number or doc")
            keys = [sig["key"] for sig in record["sigs"]]
            check(keys and keys == sorted(set(keys)), "order of sigs")
            if kind == "policy/1":
                self.policy(record["doc"])
        elif kind == "tx/1":
            self.transaction(record)
        elif kind == "commit/1":
            self.check_commit(record)
            self.commit, self.commit_hash, self.group = record, b64(sha(b"\0" + line)), hashlib.sha256()
        check(record or kind not in self.features, "this reader lacks the feature " + kind)     # §2, level "meaning"
        self.tree.append(line)
        self.group.update(line + b"\n" if kind != "commit/1" else b"")

    def policy(self, doc):              # §3: the policy in force from the next record on
        doc = parse(self.texts["log", doc])
        check(doc["kind"] == "policy" and doc["v"] in (1, 2), "this reader lacks such a policy")
        self.others, actors = doc.get("others", "allow"), doc.get("actors", [])
        check(doc["v"] == (2 if actors or self.others == "refuse" else 1), "version of the policy")
        check(self.others in ("allow", "refuse") and set(self.features) <= set(doc["features"]), "features or others of the policy")
        self.features, self.classes = doc["features"], doc["classes"]
        check(self.genesis["class"] in self.classes and "log" not in self.classes, "classes of the policy")
        self.actors = {a["actor"]: ["+".join(key.split("+")[:2]) for key in a["keys"]] for a in actors}     # NAME+HHHHHHHH
        for texts in self.features, self.classes, [a["actor"] for a in actors], *self.actors.values():
            check(texts == sorted(set(texts)), "order in the policy")

    def check_commit(self, record):     # §2.3
        check(record["height"] == self.commit["height"] + 1, "height")
        check(0 <= record["epoch"] - self.commit["epoch"] <= min(1, record["height"]), "epoch")
        check(record.get("prev") == self.commit_hash, "prev is not the leaf hash of the commit before")
        check(record["lines"] == "sha256:" + self.group.hexdigest(), "lines is not the hash of the group's lines")
        check(record["root"] == self.tree.root(), "the root of the records before is " + self.tree.root())
        check(record["state"] == self.state(), "the state root is " + self.state())

    def state(self):                    # §9: the state root
        spaces = ["%02x %s %d %d\n" % (s, b64(node_hash(t)), t.live, t.height) for s, t in sorted(self.spaces.items())]
        return b64(sha(b"graven/state/v1\n" + "".join(spaces).encode()))

    def transaction(self, record):      # §2.2
        check(("ops" in record) != ("wide" in record), "not exactly one of ops and wide")
        check(record.get("class", self.genesis["class"]) in self.classes, "class")      # §3
        keys, sig = self.actors.get(record["actor"]), record.get("sig")
        check(sig and sig["key"] in keys if keys is not None else not sig and self.others == "allow", "who signed")
        ops = record.get("ops", [])
        lines = [canonical(op).encode() for op in ops]
        if "wide" in record:
            wide, data = record["wide"], self.texts["log", record["wide"]["lines"]]     # read_block compared its hash
            lines = data.split(b"\n")[:-1]
            check(len(data) == wide["size"] and data.endswith(b"\n"), "wide: size")
            check(len(lines) == wide["count"] and Merkle(lines).root() == wide["root"], "wide: count or root")
        check((sum(len(s) + 1 for s in lines) > self.genesis["oplines"]) == ("wide" in record), "wide or not")
        check(0 < len(lines) <= 100000, "number of ops")
        head = {name: record[name] for name in ("actor", "id", "class") if name in record}
        request = [canonical(dict(head, count=len(lines))).encode()]    # then the lines without prev, skip, n
        request += [re.sub(rb',"prev":\d+,"skip":\d+,"n":\d+\}$', b"}", line) for line in lines]
        check(record["req"] == "sha256:" + sha(b"graven/req/v1\n" + b"\n".join(request) + b"\n").hex(), "req")
        for op, line in zip(ops or map(parse, lines), lines):
            self.op(op, line)

    def op(self, op, line):             # §2.2, §5.1, §5.3
        check(op["op"] in ("if", "put", "delete", "append"), "unknown op")
        if op["op"] in ("put", "append"):
            check(("chunks" in op) == (op["size"] > self.genesis["value"]), "chunks or not")
            check(op.get("chunks", op["value"]) in self.sizes, "no block holds " + op["value"])
            check("chunks" in op or self.sizes[op["value"]] == op["size"], "size of " + op["value"])
        if op["op"] in ("put", "delete"):
            key = stored_key(op)
            seqs = self.seqs.setdefault(key, [])
            check(not seqs or seqs[-1] < self.tree.size, "twice in this transaction: %r" % key)
            n = len(seqs) + 1
            own = [n, seqs[-1] if seqs else 0, seqs[jump(n) - 1] if jump(n) else 0]
            check([op["n"], op["prev"], op["skip"]] == own, "n, prev, skip of %r should be %s" % (key, own))
            seqs.append(self.tree.size)
            self.spaces[key[0]] = insert(self.spaces.get(key[0]), Leaf(key, line, seqs, op["op"] == "put"))

if not sys.argv[1:]:
    print("usage: python3 docs/reader.py VAULT-FOLDER...", file=sys.stderr)
    sys.exit(2)
for folder in sys.argv[1:]:
    try:
        vault = Vault(folder)
        vault.read()
        print("size %d\nroot %s\nstate %s" % (vault.tree.size, vault.tree.root(), vault.state()))
    except BAD + (OSError,) as e:
        sys.exit("%s: damage: %s" % (folder, e if type(e) is ValueError else repr(e)))
