package edge_test

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/headcount-hub/headcount/"

// allowed says which of our packages each package may import, besides edge, which all may. A
// new package needs a line here: arrows point towards edge, siblings do not see each other,
// only a composition root sees many packages and only its command sees the root.
var allowed = map[string]string{
	"edge":                   "",
	"edge/config":            "",
	"edge/clock":             "",
	"edge/journal":           "",
	"edge/occupancy":         "",
	"edge/alerts":            "",
	"edge/deliver":           "",
	"edge/discover":          "",
	"edge/live":              "",
	"edge/live/socketio":     "edge/live",
	"edge/live/feed":         "edge/live edge/live/socketio sync/token",
	"edge/live/socketiotest": "",
	"edge/web":               "",
	"edge/api":               "edge/usage edge/gateway edge/live edge/live/feed edge/live/socketio edge/web sync/token",
	"edge/doors":             "",
	"edge/usage":             "",
	"edge/engine":            "edge/journal edge/occupancy edge/alerts edge/doors",
	"edge/replay":            "edge/engine edge/occupancy",
	"edge/hub":               "edge/discover edge/config edge/gateway edge/clock edge/journal edge/engine edge/alerts edge/deliver edge/live edge/api edge/web edge/occupancy drivers drivers/catalog drivers/profiles drivers/mqtt drivers/serialport sync/wire sync/uplink sync/natslink sync/downlink sync/token sync/trace",
	"drivers":                "sync/token",
	"drivers/catalog":        "drivers drivers/broker drivers/mqtt drivers/lines drivers/httppush",
	"drivers/payload":        "",
	"drivers/profiles":       "drivers/payload",
	"drivers/decode":         "drivers/payload drivers/profiles",
	"drivers/broker":         "drivers drivers/payload drivers/profiles",
	"drivers/mqtt":           "drivers drivers/payload drivers/profiles",
	"drivers/httppush":       "drivers drivers/payload drivers/profiles sync/token",
	"drivers/serialport":     "",
	"drivers/lines":          "drivers drivers/payload drivers/serialport",
	"drivers/sim":            "",
	"drivers/sim/scenario":   "drivers/sim edge/config",
	"drivers/sim/simulate":   "drivers/sim",
	"drivers/drivertest":     "drivers",
	"edge/gateway":           "sync/token",
	"sync/wire":              "",
	"sync/token":             "",
	"sync/trace":             "",
	"sync/uplink":            "sync/wire",
	"sync/uplink/uplinktest": "sync/wire",
	"sync/natslink":          "sync/wire sync/uplink",
	"sync/downlink":          "sync/wire sync/token",
	"cloud/bus":              "sync/wire",
	"cloud/store":            "sync/wire",
	"cloud/store/storetest":  "cloud/store",
	"cloud/ingest":           "sync/wire cloud/store cloud/schema",
	"cloud/route":            "edge/gateway sync/token",
	"cloud/accounts":         "sync/token cloud/store cloud/route edge/gateway",
	"cloud/steer":            "sync/wire sync/token cloud/store cloud/route edge/gateway",
	"cloud/twin":             "sync/wire sync/token cloud/store cloud/route edge/gateway",
	"cloud/notify":           "cloud/store cloud/route edge/deliver sync/token",
	"cloud/socket":           "cloud/store edge/live sync/token",
	"cloud/ical":             "",
	"cloud/analytics":        "cloud/ical cloud/store cloud/route edge/gateway edge/usage sync/token",
	"cloud/workorders":       "cloud/store cloud/route edge/gateway sync/token",
	"cloud/services":         "cloud/store cloud/route edge/gateway sync/token",
	"cloud/assist":           "cloud/store cloud/route edge/gateway sync/token",
	"cloud/schema":           "cloud/route",
	"cloud/forward":          "cloud/store cloud/route edge/deliver sync/token",
	"cloud/publish":          "cloud/store cloud/route sync/token",
	"cloud/tier":             "sync/trace cloud/schema cloud/analytics cloud/assist cloud/forward cloud/services cloud/publish cloud/steer cloud/accounts cloud/workorders cloud/bus cloud/store cloud/ingest cloud/twin cloud/notify cloud/socket cloud/route edge/live edge/live/feed edge/live/socketio edge/web edge/deliver edge/gateway sync/wire sync/token",
	"systemd":                "",
	"edge/api/apitest":       "edge/api edge/live",
	"edge/web/browsertest":   "",
	"cmd/headcount":          "edge/discover drivers/serialport drivers/sim drivers/sim/scenario drivers/sim/simulate edge/hub edge/gateway edge/config edge/replay edge/api drivers/decode sync/token systemd",
	"cmd/headcount-cloud":    "cloud/tier",
	"cmd/headcount-demo":     "edge/hub edge/config edge/gateway cloud/tier cloud/accounts drivers/sim",
}

// home says which packages may import an outside library: one on each side.
var home = map[string]string{
	"github.com/hashicorp/mdns":              "edge/discover",
	"go.etcd.io/bbolt":                       "edge/journal",
	"go.bug.st/serial":                       "drivers/serialport",
	"github.com/eclipse/paho.mqtt.golang":    "drivers/mqtt cloud/forward drivers/sim",
	"github.com/mochi-mqtt/server/v2":        "drivers/broker",
	"github.com/nats-io/nats.go":             "sync/natslink cloud/forward cloud/bus cloud/ingest cloud/steer cloud/services cloud/publish",
	"github.com/nats-io/nats-server/v2":      "cloud/bus",
	"modernc.org/sqlite":                     "cloud/store",
	"github.com/modelcontextprotocol/go-sdk": "cloud/assist",
	"github.com/sony/gobreaker/v2":           "cloud/assist",
	"github.com/jackc/pgx/v5":                "cloud/store cloud/store/storetest",
	"github.com/expr-lang/expr":              "edge/alerts",
	"github.com/wneessen/go-mail":            "edge/deliver",
	"github.com/SherClockHolmes/webpush-go":  "edge/deliver",
	"github.com/coreos/go-oidc/v3":           "cloud/accounts",
	"golang.org/x/oauth2":                    "cloud/accounts",
	"github.com/coder/websocket":             "drivers/sim edge/live edge/live/socketio edge/live/socketiotest cloud/workorders",
	"github.com/golang-jwt/jwt/v5":           "sync/token",
	"github.com/xuri/excelize/v2":            "cloud/analytics",
	"github.com/arran4/golang-ical":          "cloud/ical",
	"golang.org/x/time":                      "edge/gateway",
}

func TestImports(t *testing.T) {
	out, err := exec.Command("go", "list", "-json=ImportPath,Imports", module+"...").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	dec := json.NewDecoder(bytes.NewReader(out))
	for dec.More() {
		var p struct {
			ImportPath string
			Imports    []string
		}
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		checkImports(t, strings.TrimPrefix(p.ImportPath, module), p.Imports)
	}
}

func checkImports(t *testing.T, pkg string, imports []string) {
	list, known := allowed[pkg]
	if !known {
		t.Errorf("package %s has no line in the table of imports: say what it may see", pkg)
		return
	}
	may := append(strings.Fields(list), "edge")
	for _, imp := range imports {
		if own, ok := strings.CutPrefix(imp, module); ok && !slices.Contains(may, own) {
			t.Errorf("%s imports %s, which its line in the table does not allow", pkg, own)
		}
		for lib, homes := range home {
			if (imp == lib || strings.HasPrefix(imp, lib+"/")) && !slices.Contains(strings.Fields(homes), pkg) {
				t.Errorf("%s imports %s, whose home is %s", pkg, imp, homes)
			}
		}
	}
}
