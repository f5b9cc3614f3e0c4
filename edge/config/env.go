package config

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// Prefix begins the names of environment variables that set keys:
// HEADCOUNT__HTTP__LISTEN=127.0.0.1:9090, HEADCOUNT__SPACES__LOBBY__CAPACITY=12. An element of
// a list is named by its id or name (with _ for -) or by its number from 0. Lists and maps are
// written as YAML in brackets, HEADCOUNT__INPUTS='[{driver: httppush}]'; text that looks like a
// number may stand in quotes.
const Prefix = "HEADCOUNT__"

// environment is os.Environ as a map; the last of two wins.
func environment(env []string) map[string]string {
	out := make(map[string]string, len(env))
	for _, kv := range env {
		if k, v, ok := strings.Cut(kv, "="); ok {
			out[k] = v
		}
	}
	return out
}

// expand replaces ${VAR} in all texts below n, but not in keys.
func expand(ps *problems, n *node, env map[string]string, path string) {
	switch n.kind {
	case textNode:
		if !strings.Contains(n.text, "$") {
			return
		}
		text, used, err := expandText(n.text, env)
		if err != nil {
			ps.add(n, path, "write $$ for a dollar sign", "%s", err)
			return
		}
		n.text, n.loose = text, n.loose || used
	case listNode:
		for i, item := range n.items {
			expand(ps, item, env, fmt.Sprintf("%s[%d]", path, i))
		}
	case mapNode:
		for _, m := range n.members {
			expand(ps, m.value, env, join(path, m.key))
		}
	}
}

// expandText replaces ${VAR}, ${VAR:-default}, ${VAR:?message} and $$ in s. As in a shell, an
// empty variable counts as missing for :- and :? . A $ before anything else stays.
func expandText(s string, env map[string]string) (out string, used bool, err error) {
	var b strings.Builder
	for {
		i := strings.IndexByte(s, '$')
		if i < 0 || i+1 == len(s) {
			b.WriteString(s)
			return b.String(), used, nil
		}
		b.WriteString(s[:i])
		s = s[i:]
		switch s[1] {
		case '$':
			b.WriteByte('$')
			s = s[2:]
		case '{':
			inner, rest, closed := strings.Cut(s[2:], "}")
			if !closed {
				return "", used, fmt.Errorf("has ${ without }")
			}
			v, err := lookup(inner, env)
			if err != nil {
				return "", used, err
			}
			b.WriteString(v)
			s, used = rest, true
		default:
			b.WriteByte('$')
			s = s[1:]
		}
	}
}

// lookup resolves the inside of ${…}.
func lookup(inner string, env map[string]string) (string, error) {
	end := strings.IndexFunc(inner, func(r rune) bool {
		return !(r == '_' || r >= 'A' && r <= 'Z' || r >= 'a' && r <= 'z' || r >= '0' && r <= '9')
	})
	if end < 0 {
		end = len(inner)
	}
	name, op := inner[:end], inner[end:]
	if name == "" || name[0] >= '0' && name[0] <= '9' {
		return "", fmt.Errorf("${%s} does not name an environment variable", inner)
	}
	v, set := env[name]
	switch {
	case op == "" && !set:
		return "", fmt.Errorf("the environment variable %s is not set: set it or write ${%s:-default}", name, name)
	case op == "" || v != "" && (strings.HasPrefix(op, ":-") || strings.HasPrefix(op, ":?")):
		return v, nil
	case strings.HasPrefix(op, ":-"):
		return op[2:], nil
	case strings.HasPrefix(op, ":?"):
		msg := op[2:]
		if msg == "" {
			msg = "is needed"
		}
		return "", fmt.Errorf("the environment variable %s is not set: %s", name, msg)
	}
	return "", fmt.Errorf("${%s} is not ${VAR}, ${VAR:-default} or ${VAR:?message}", inner)
}

// override sets the keys that HEADCOUNT__… variables name, in order of their names.
func override(ps *problems, root *node, env map[string]string) {
	for _, name := range slices.Sorted(maps.Keys(env)) {
		path, ok := strings.CutPrefix(name, Prefix)
		if !ok {
			continue
		}
		pos := Position{Env: name}
		value := fromEnv(ps, env[name], pos)
		if value == nil {
			continue
		}
		o := overrider{ps: ps, pos: pos, value: value}
		o.put(root, rootSchema(), strings.Split(strings.ToLower(path), "__"), "")
	}
}

// fromEnv makes a node of a variable's value; nil if it is a mistake.
func fromEnv(ps *problems, text string, pos Position) *node {
	if text == "" || !strings.Contains("[{\"'", text[:1]) {
		return &node{kind: textNode, text: text, pos: pos, loose: true}
	}
	var own problems
	n := readYAML(&own, "", []byte(text))
	for _, p := range own.list {
		ps.addAt(pos, p.Path, p.Hint, "%s", p.Msg)
	}
	if n != nil {
		n.place(pos)
	}
	return n
}

// place sets the position of n and all below it.
func (n *node) place(pos Position) {
	n.pos = pos
	for _, item := range n.items {
		item.place(pos)
	}
	for i := range n.members {
		n.members[i].keyPos = pos
		n.members[i].value.place(pos)
	}
}

type overrider struct {
	ps    *problems
	pos   Position
	value *node
}

// put sets the value at the path below n.
func (o overrider) put(n *node, s *schema, path []string, where string) {
	if n.kind == nullNode && s != nil {
		n.kind = map[string]kind{"array": listNode, "object": mapNode}[s.Type]
	}
	switch n.kind {
	case mapNode:
		o.putKey(n, s, path, where)
	case listNode:
		o.putItem(n, s, path, where)
	default:
		o.ps.addAt(o.pos, where, "", "has nothing inside that %s could name", strings.ToUpper(path[0]))
	}
}

func (o overrider) putKey(n *node, s *schema, path []string, where string) {
	key := o.key(n, s, path[0])
	var sub *schema
	if s != nil {
		p, known := s.property(key)
		if !known {
			o.ps.addAt(o.pos, join(where, key), choices(key, s.keys()), "there is no such key")
			return
		}
		sub = p
	}
	where = join(where, key)
	if len(path) == 1 {
		n.set(key, o.value)
		return
	}
	child := n.get(key)
	if child == nil {
		child = &node{kind: mapNode, pos: o.pos}
		if sub != nil && sub.Type == "array" {
			child.kind = listNode
		}
		n.set(key, child)
	}
	o.put(child, sub, path[1:], where)
}

// key finds the key that a part of a variable's name means.
func (o overrider) key(n *node, s *schema, part string) string {
	for _, m := range n.members {
		if sameName(m.key, part) {
			return m.key
		}
	}
	if s != nil {
		for _, k := range s.keys() {
			if sameName(k, part) {
				return k
			}
		}
	}
	return part
}

func sameName(key, part string) bool {
	return strings.ReplaceAll(strings.ToLower(key), "-", "_") == part
}

func (o overrider) putItem(n *node, s *schema, path []string, where string) {
	i := slices.IndexFunc(n.items, func(item *node) bool {
		return sameName(item.str("id"), path[0]) || sameName(item.str("name"), path[0]) && item.get("id") == nil
	})
	if k, err := strconv.Atoi(path[0]); i < 0 && err == nil && k >= 0 && k < len(n.items) {
		i = k
	}
	if i < 0 {
		o.ps.addAt(o.pos, where, "use an id or a number from 0", "has no element %s", strings.ToUpper(path[0]))
		return
	}
	where = fmt.Sprintf("%s[%d]", where, i)
	if len(path) == 1 {
		n.items[i] = o.value
		return
	}
	var sub *schema
	if s != nil {
		sub = s.Items
	}
	o.put(n.items[i], sub, path[1:], where)
}
