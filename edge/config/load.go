package config

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
)

// Load reads the configuration file at path and checks everything, the files it names
// included. The error is an *[Errors] with all mistakes, or says why the file cannot be read.
func Load(path string, opts Options) (*Config, error) {
	data, err := readFile(path)
	if err != nil {
		return nil, err
	}
	return parse(path, data, opts, !opts.SiteOnly)
}

// LoadSite reads a file of which only the site model matters, for replay: spaces, doors and
// sensors; all else may be missing. See Options.SiteOnly.
func LoadSite(path string, env []string) (*Config, error) {
	return Load(path, Options{Env: env, SiteOnly: true})
}

// Parse is Load without the file system: name stands for the file in messages, and the files
// that the configuration names are not looked at.
func Parse(name string, data []byte, opts Options) (*Config, error) {
	return parse(name, data, opts, false)
}

func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	if !info.Mode().IsRegular() && info.Mode()&os.ModeNamedPipe == 0 {
		return nil, fmt.Errorf("read configuration %s: it is not a file", path)
	}
	if info.Size() > maxFile {
		return nil, fmt.Errorf("read configuration %s: it is %d bytes long, at most %d are allowed", path, info.Size(), maxFile)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read configuration: %w", err)
	}
	return data, nil
}

// parse goes through the stages; each adds its mistakes to the list. References and files are
// only judged once the document has the right shape, so that one mistake is not told twice.
func parse(name string, data []byte, opts Options, files bool) (*Config, error) {
	ps := &problems{file: name}
	root := readYAML(ps, name, data)
	if root == nil {
		return nil, ps.err()
	}
	env := environment(opts.Env)
	expand(ps, root, env, "")
	if opts.Layer != nil {
		lay(ps, root, opts.Layer)
	}
	override(ps, root, env)
	checker{ps, opts.SiteOnly}.check(root, rootSchema(), "")
	if root.kind != mapNode {
		return nil, ps.err()
	}
	if opts.SiteOnly && root.get("site") == nil {
		root.set("site", defaultSite())
	}
	b := builder{ps: ps, opts: opts, root: root, base: baseDir(name)}
	c := b.build()
	if files {
		b.checkFiles(root, "")
	}
	if err := ps.err(); err != nil {
		return nil, err
	}
	c.Path, c.tree, c.source = name, root, source{data, opts, files}
	c.Hash = hash(root)
	inOrder(ps.warnings)
	for _, w := range ps.warnings {
		c.Warnings = append(c.Warnings, w.String())
	}
	return c, nil
}

// defaultSite is the site of a replay that names none.
func defaultSite() *node {
	return &node{kind: mapNode, members: []member{
		{key: "id", value: &node{kind: textNode, text: "site"}},
		{key: "timezone", value: &node{kind: textNode, text: "UTC"}},
	}}
}

// baseDir is the folder that relative file names start from.
func baseDir(name string) string {
	dir, err := filepath.Abs(filepath.Dir(name))
	if err != nil {
		return filepath.Dir(name)
	}
	return dir
}

// hash is the SHA-256 of the effective document with sorted keys: what was written where, in
// which order of keys, and where a value came from make no difference.
func hash(root *node) string {
	sum := sha256.Sum256(root.sorted().appendJSON(nil))
	return hex.EncodeToString(sum[:])
}
