package systemd_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"

	"github.com/headcount-hub/headcount/cloud/tier"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestCloudConfigurationOfThePackageIsGood(t *testing.T) {
	c, err := tier.LoadConfig("../packaging/cloud.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if c.HTTP.Listen != tier.DefaultHTTP || c.NATS.Listen != tier.DefaultNATS {
		t.Errorf("it listens on %s and %s, the defaults are %s and %s", c.HTTP.Listen, c.NATS.Listen, tier.DefaultHTTP, tier.DefaultNATS)
	}
	for _, proxy := range []string{"packaging/Caddyfile", "packaging/nginx.conf", "compose.yaml"} {
		if !strings.Contains(read(t, proxy), c.HTTP.Listen) {
			t.Errorf("%s does not lead to %s", proxy, c.HTTP.Listen)
		}
	}
}

// TestPackagesNameWhatIsThere holds what packages install and run to what is in the tree.
func TestPackagesNameWhatIsThere(t *testing.T) {
	for _, name := range []string{"packaging/nfpm.yaml", "packaging/nfpm-cloud.yaml"} {
		var p struct {
			Contents  []struct{ Src, Dst string }
			Overrides map[string]struct{ Scripts map[string]string }
		}
		if err := yaml.Unmarshal([]byte(read(t, name)), &p); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		files := []string{}
		for _, c := range p.Contents {
			if c.Src != "" && !strings.HasPrefix(c.Src, "dist/") {
				files = append(files, c.Src)
			}
		}
		for _, format := range []string{"deb", "rpm"} {
			if len(p.Overrides[format].Scripts) != 3 {
				t.Errorf("%s: %s has scripts %v, want three", name, format, p.Overrides[format].Scripts)
			}
			for _, script := range p.Overrides[format].Scripts {
				files = append(files, script)
				if out, err := exec.Command("sh", "-n", filepath.Join("..", script)).CombinedOutput(); err != nil {
					t.Errorf("%s: %v %s", script, err, out)
				}
			}
		}
		for _, f := range files {
			read(t, f)
		}
	}
	for unit, program := range map[string]string{"headcount.service": "headcount", "headcount-cloud.service": "headcount-cloud"} {
		if !strings.Contains(read(t, "systemd/"+unit), "ExecStart=/usr/bin/"+program+" run ") {
			t.Errorf("%s does not start %s", unit, program)
		}
	}
}

// TestComposeIsConsistent checks that services, images, files and volumes fit each other.
func TestComposeIsConsistent(t *testing.T) {
	var c struct {
		Services map[string]struct {
			Build     struct{ Context, Dockerfile, Target string }
			Image     string
			Volumes   []string
			DependsOn []string `yaml:"depends_on"`
			Net       string   `yaml:"network_mode"`
		}
		Volumes map[string]any
	}
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 3 {
		t.Fatalf("services %v, want hub, cloud and caddy", c.Services)
	}
	containers := read(t, "packaging/Containerfile")
	for name, s := range c.Services {
		if s.Image == "" && (s.Build.Dockerfile != "packaging/Containerfile" || !strings.Contains(containers, " AS "+s.Build.Target+"\n")) {
			t.Errorf("%s is built as %+v, which the Containerfile does not have", name, s.Build)
		}
		if s.Net != "host" {
			t.Errorf("%s has network %q: the others are on loopback of the host", name, s.Net)
		}
		for _, v := range s.Volumes {
			from, to, _ := strings.Cut(v, ":")
			if to, _, _ = strings.Cut(to, ":"); !strings.HasPrefix(to, "/") {
				t.Errorf("%s: volume %s", name, v)
			}
			file, local := strings.CutPrefix(from, "./")
			if _, named := c.Volumes[from]; !local && !named {
				t.Errorf("%s: there is no volume %s", name, from)
			}
			if local && file != "headcount.yaml" { // which the operator makes
				read(t, file)
			}
			if strings.HasSuffix(to, ".yaml") && !strings.Contains(containers, `"`+to+`"`) {
				t.Errorf("%s: nothing reads %s", name, to)
			}
		}
		for _, d := range s.DependsOn {
			if _, ok := c.Services[d]; !ok {
				t.Errorf("%s depends on %s, which is not there", name, d)
			}
		}
	}
	// Stages are built on stages before them, and copy from such.
	stages := []string{}
	for line := range strings.Lines(containers) {
		f := strings.Fields(line)
		if from := regexp.MustCompile(`--from=(\w+)`).FindStringSubmatch(line); from != nil && !slices.Contains(stages, from[1]) {
			t.Errorf("no stage %s before: %s", from[1], line)
		}
		if len(f) == 4 && f[0] == "FROM" {
			if !strings.Contains(f[1], "/") && f[1] != "scratch" && !slices.Contains(stages, f[1]) {
				t.Errorf("no stage %s before: %s", f[1], line)
			}
			stages = append(stages, f[3])
		}
	}
}
