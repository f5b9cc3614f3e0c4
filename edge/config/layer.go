package config

import (
	"fmt"
	"slices"
)

// Layer is the part of a configuration that somebody else than the file's owner decides: the
// cloud. It is a document, YAML or JSON, with the sections spaces, doors, sensors and alerts in
// the file's own form, and remove with lists of ids by section. What it has replaces the file's
// element of the same id (of the same name, for alerts) or is added; what it removes is not there.
// Nothing else can be set by it, and ${VAR} means nothing in it. The environment is laid over both.
type Layer struct {
	Name string // stands for a file's name in messages and explanations: "cloud rev 12"
	Data []byte
}

// layerKeys are the sections that a layer may have, with the key that identifies an element.
var layerKeys = map[string]string{"spaces": "id", "doors": "id", "sensors": "id", "alerts": "name"}

var layerSections = []string{"spaces", "doors", "sensors", "alerts"}

// WithLayer returns the configuration that the same file, as it was read, gives under another
// layer; nil stands for none. The error is an *[Errors] with all mistakes.
func (c *Config) WithLayer(l *Layer) (*Config, error) {
	opts := c.source.opts
	opts.Layer = l
	return parse(c.Path, c.source.data, opts, c.source.files)
}

// source is what a configuration was made of.
type source struct {
	data  []byte
	opts  Options
	files bool
}

// lay lays a layer over the document.
func lay(ps *problems, root *node, l *Layer) {
	over := readYAML(ps, l.Name, l.Data)
	if over == nil || root.kind != mapNode {
		return
	}
	if over.kind != mapNode {
		ps.add(over, "", "", "must be a map of keys, not %s", over.describe())
		return
	}
	for _, m := range over.members {
		id, known := layerKeys[m.key]
		switch {
		case m.key == "remove": // last, wherever it stands
		case !known:
			ps.addAt(m.keyPos, m.key, choices(m.key, append(slices.Clone(layerSections), "remove")), "cannot be set from the cloud")
		case m.value.kind == nullNode:
		case m.value.kind != listNode:
			ps.add(m.value, m.key, "", "must be a list, not %s", m.value.describe())
		default:
			put(ps, section(root, m.key), m.value, m.key, id)
		}
	}
	if remove := over.get("remove"); remove != nil {
		takeAway(ps, root, remove)
	}
}

// section returns a list of the document, which it makes if there is none.
func section(root *node, key string) *node {
	have := root.get(key)
	if have == nil || have.kind == nullNode {
		have = &node{kind: listNode}
		root.set(key, have)
	}
	return have
}

// put replaces the elements that have the same id and appends the others.
func put(ps *problems, have, over *node, path, id string) {
	if have.kind != listNode {
		return // told when the file is checked
	}
	seen := map[string]bool{}
	for i, item := range over.items {
		name := item.str(id)
		where := fmt.Sprintf("%s[%d]", path, i)
		switch {
		case name == "":
			ps.add(item, join(where, id), "", "is missing")
			continue
		case seen[name]:
			ps.add(item.at(id), join(where, id), "delete one", "%q is there twice", name)
			continue
		}
		seen[name] = true
		if at := slices.IndexFunc(have.items, func(n *node) bool { return n.str(id) == name }); at >= 0 {
			have.items[at] = item
		} else {
			have.items = append(have.items, item)
		}
	}
}

// takeAway removes elements by id. One that is not there is no mistake.
func takeAway(ps *problems, root, remove *node) {
	if remove.kind == nullNode {
		return
	}
	if remove.kind != mapNode {
		ps.add(remove, "remove", `write remove: {spaces: [ID, …]}`, "must be a map of lists of ids, not %s", remove.describe())
		return
	}
	for _, m := range remove.members {
		id, known := layerKeys[m.key]
		if !known {
			ps.addAt(m.keyPos, join("remove", m.key), choices(m.key, layerSections), "cannot be removed from the cloud")
			continue
		}
		for i, item := range m.value.items {
			if item.kind != textNode {
				ps.add(item, fmt.Sprintf("remove.%s[%d]", m.key, i), "", "must be an id, not %s", item.describe())
				continue
			}
			if have := root.get(m.key); have != nil && have.kind == listNode {
				have.items = slices.DeleteFunc(have.items, func(n *node) bool { return n.str(id) == item.text })
			}
		}
	}
}
