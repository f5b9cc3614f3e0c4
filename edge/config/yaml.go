package config

import (
	"errors"
	"fmt"
	"strings"

	"github.com/goccy/go-yaml"
	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

// The bounds of a configuration file. A site of 1,000 rooms has about 300 KiB.
const (
	maxFile  = 2 << 20 // bytes
	maxDepth = 64      // levels of nesting
	maxNodes = 500_000 // values, those repeated by aliases included
	maxKeys  = 50_000  // keys on lines of their own; the parser's time grows with their square
)

// readYAML turns YAML into a tree. Mistakes go to ps; the result is nil when there is nothing
// to look at further.
func readYAML(ps *problems, name string, data []byte) (root *node) {
	whole := Position{File: name}
	if len(data) > maxFile {
		ps.addAt(whole, "", "", "is %d bytes long, at most %d are allowed", len(data), maxFile)
		return nil
	}
	defer func() {
		if r := recover(); r != nil { // a parser of foreign text may have bugs; the hub must not die of them
			ps.addAt(whole, "", "simplify it", "cannot be read as YAML: %v", r)
			root = nil
		}
	}()
	data = []byte(strings.TrimPrefix(string(data), "\ufeff"))
	tokens := lexer.Tokenize(string(data))
	if pos, msg := tooMuch(tokens); pos != nil {
		ps.addAt(Position{File: name, Line: pos.Line, Col: pos.Column}, "", "", "%s", msg)
		return nil
	}
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		at := syntaxPlace(name, err)
		ps.addAt(at, "", syntaxHint(data, at.Line), "is not YAML: %s", syntaxMessage(err))
		return nil
	}
	r := reader{ps: ps, name: name, anchors: map[string]ast.Node{}}
	return r.document(file)
}

// tooMuch finds the token at which nesting or the number of keys goes beyond what the parser
// can take.
func tooMuch(tokens token.Tokens) (at *token.Position, msg string) {
	flow, keys, indents := 0, 0, []int(nil)
	for _, t := range tokens {
		switch t.Type {
		case token.MappingStartType, token.SequenceStartType:
			flow++
		case token.MappingEndType, token.SequenceEndType:
			flow--
		case token.SequenceEntryType, token.MappingValueType, token.MappingKeyType:
			if flow > 0 {
				continue
			}
			keys++
			for len(indents) > 0 && indents[len(indents)-1] >= t.Position.Column {
				indents = indents[:len(indents)-1]
			}
			indents = append(indents, t.Position.Column)
		}
		if flow > maxDepth || len(indents) > 2*maxDepth {
			return t.Position, fmt.Sprintf("is nested deeper than %d levels", maxDepth)
		}
		if keys > maxKeys {
			return t.Position, fmt.Sprintf("has more than %d keys and list elements on lines of their own", maxKeys)
		}
	}
	return nil, ""
}

func syntaxPlace(name string, err error) Position {
	var e yaml.Error
	if errors.As(err, &e) && e.GetToken() != nil && e.GetToken().Position != nil {
		p := e.GetToken().Position
		return Position{File: name, Line: p.Line, Col: p.Column}
	}
	return Position{File: name}
}

// syntaxHint looks at the line for what is often forgotten.
func syntaxHint(data []byte, line int) string {
	lines := strings.Split(string(data), "\n")
	if line >= 1 && line <= len(lines) && strings.Contains(lines[line-1], "${") {
		return `within { } and [ ] put "${…}" in quotes`
	}
	return ""
}

func syntaxMessage(err error) string {
	var e yaml.Error
	if errors.As(err, &e) {
		return e.GetMessage()
	}
	first, _, _ := strings.Cut(err.Error(), "\n")
	return first
}

// reader converts the parser's tree.
type reader struct {
	ps      *problems
	name    string
	anchors map[string]ast.Node
	inside  []string // the aliases being followed
	count   int
	full    bool
}

func (r *reader) document(file *ast.File) *node {
	var root *node
	for _, doc := range file.Docs {
		if doc.Body == nil || doc.Body.Type() == ast.CommentType || doc.Body.Type() == ast.CommentGroupType {
			continue
		}
		if root != nil {
			r.ps.addAt(r.pos(doc.Body), "", "keep one and delete ---", "there is a second document in the file")
			break
		}
		root = r.node(doc.Body, "", 0)
	}
	if root == nil || root.kind == nullNode {
		root = &node{kind: mapNode, pos: Position{File: r.name, Line: 1, Col: 1}}
	}
	return root
}

func (r *reader) pos(n ast.Node) Position {
	p := Position{File: r.name}
	if t := n.GetToken(); t != nil && t.Position != nil {
		p.Line, p.Col = t.Position.Line, t.Position.Column
	}
	return p
}

func (r *reader) node(n ast.Node, path string, depth int) *node {
	nothing := &node{kind: nullNode, pos: Position{File: r.name}}
	if n == nil {
		return nothing
	}
	pos := r.pos(n)
	if r.count++; r.count > maxNodes || depth > maxDepth {
		if !r.full {
			r.ps.addAt(pos, path, "", "is too large: more than %d values or %d levels", maxNodes, maxDepth)
		}
		r.full = true
		return nothing
	}
	switch n := n.(type) {
	case *ast.StringNode:
		return r.text(n, pos)
	case *ast.LiteralNode:
		return &node{kind: textNode, text: n.Value.Value, pos: pos, block: true}
	case *ast.NullNode, *ast.BoolNode, *ast.IntegerNode, *ast.FloatNode, *ast.InfinityNode, *ast.NanNode:
		return scalar(n.GetToken().Value, pos)
	case *ast.MappingNode:
		return r.mapping(n.Values, pos, path, depth)
	case *ast.MappingValueNode:
		return r.mapping([]*ast.MappingValueNode{n}, r.pos(n.Key), path, depth)
	case *ast.SequenceNode:
		out := &node{kind: listNode, pos: pos}
		for i, v := range n.Values {
			out.items = append(out.items, r.node(v, fmt.Sprintf("%s[%d]", path, i), depth+1))
		}
		return out
	case *ast.AnchorNode:
		r.anchors[n.Name.GetToken().Value] = n.Value
		return r.node(n.Value, path, depth)
	case *ast.AliasNode:
		return r.alias(n, pos, path, depth)
	}
	r.ps.addAt(pos, path, "", "YAML's %s is not used here", n.Type().YAMLName())
	return nothing
}

func (r *reader) text(n *ast.StringNode, pos Position) *node {
	out := &node{kind: textNode, text: n.Value, pos: pos}
	switch n.Token.Type {
	case token.SingleQuoteType, token.DoubleQuoteType:
		out.quoted = true
	default:
		return scalar(n.Value, pos)
	}
	return out
}

// alias repeats what an anchor named.
func (r *reader) alias(n *ast.AliasNode, pos Position, path string, depth int) *node {
	name := n.Value.GetToken().Value
	target, ok := r.anchors[name]
	for _, in := range r.inside {
		ok = ok && in != name
	}
	if !ok {
		r.ps.addAt(pos, path, "", "there is no anchor &%s before it", name)
		return &node{kind: nullNode, pos: pos}
	}
	r.inside = append(r.inside, name)
	out := r.node(target, path, depth)
	r.inside = r.inside[:len(r.inside)-1]
	return out
}

func (r *reader) mapping(values []*ast.MappingValueNode, pos Position, path string, depth int) *node {
	out := &node{kind: mapNode, pos: pos}
	if len(values) > 0 {
		out.pos = r.pos(values[0].Key)
	}
	seen := map[string]Position{}
	for _, v := range values {
		at := r.pos(v.Key)
		key := ""
		switch k := v.Key.(type) {
		case *ast.StringNode:
			key = k.Value
		case *ast.MergeKeyNode:
			r.ps.addAt(at, path, "write the keys out", "<< is not used here")
			continue
		default:
			if t := v.Key.GetToken(); t != nil {
				key = t.Value
			}
		}
		where := join(path, key)
		if first, twice := seen[key]; twice {
			r.ps.addAt(at, where, "delete one", "is given twice, first in line %d", first.Line)
			continue
		}
		seen[key] = at
		value := r.node(v.Value, where, depth+1)
		if value.pos.Line == 0 {
			value.pos = at
		}
		out.members = append(out.members, member{key: key, keyPos: at, value: value})
	}
	return out
}

// join appends a key to a path.
func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
