package tier

import (
	"context"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"
)

// TestWorkOrdersOfATier opens an order over HTTP and talks about it over two WebSockets.
func TestWorkOrdersOfATier(t *testing.T) {
	cfg := config(t.TempDir())
	cfg.HTTP.TokenFile = filepath.Join(t.TempDir(), "tokens")
	must(t, os.WriteFile(cfg.HTTP.TokenFile, []byte("kari:0123456789abcdef0123\nmia:abcdef0123456789abcd\n"), 0o600))
	tier := startTier(t, cfg)
	req, err := http.NewRequestWithContext(t.Context(), "POST", tier.HTTPAddr()+"/v1/work-orders", strings.NewReader(`{"org":"acme","title":"broken"}`))
	must(t, err)
	req.Header.Set("Authorization", "Bearer 0123456789abcdef0123")
	resp, err := http.DefaultClient.Do(req)
	must(t, err)
	var order struct{ ID, Number string }
	must(t, json.NewDecoder(resp.Body).Decode(&order))
	resp.Body.Close()
	if resp.StatusCode != 201 || !strings.HasPrefix(order.Number, "WO-") {
		t.Fatalf("got %s %+v, want a new order", resp.Status, order)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	join := func(token string) *websocket.Conn {
		conn, _, err := websocket.Dial(ctx, tier.HTTPAddr()+"/ws/chat/"+order.ID+"/?token="+token, nil)
		must(t, err)
		t.Cleanup(func() { conn.CloseNow() })
		return conn
	}
	kari, mia := join("0123456789abcdef0123"), join("abcdef0123456789abcd")
	go func() { // as browsers do, it hears everything to the end
		for err := error(nil); err == nil; {
			_, _, err = kari.Read(ctx)
		}
	}()
	must(t, kari.Write(ctx, websocket.MessageText, []byte(`{"type":"note","text":"hello"}`)))
	for {
		_, b, err := mia.Read(ctx)
		must(t, err)
		if strings.Contains(string(b), `"hello"`) && strings.Contains(string(b), `"name":"kari"`) {
			break
		}
	}
	if _, resp, err := websocket.Dial(ctx, tier.HTTPAddr()+"/ws/chat/"+order.ID+"?token=wrongwrongwrongwrong", nil); err == nil || resp.StatusCode != 401 {
		t.Errorf("a wrong token got %v, want 401", resp)
	}
	closed := make(chan struct{})
	go func() { defer close(closed); tier.Close() }() // ends the chats
	for err = nil; err == nil; {
		_, _, err = mia.Read(ctx)
	}
	<-closed
	if ctx.Err() != nil {
		t.Error("the chat outlived its tier")
	}
}

func TestWorkOrderConfigIsChecked(t *testing.T) {
	good := `workorders: {zone: Europe/Oslo, zones: {acme: America/New_York}, clamav: "unix:/run/clamav/clamd.ctl", max_file_mb: 50, max_files: 5, converter_dir: tools}`
	path := filepath.Join(t.TempDir(), "cloud.yaml")
	must(t, os.WriteFile(path, []byte(good), 0o600))
	c, err := LoadConfig(path)
	must(t, err)
	if want := filepath.Join(filepath.Dir(path), "tools"); c.WorkOrders.Tools != want {
		t.Errorf("converter_dir is %s, want %s", c.WorkOrders.Tools, want)
	}
	for bad, want := range map[string]string{
		"zone: Mars": "Mars", "zones: {acme: Venus}": "Venus", "clamav: localhost": "tcp://HOST:PORT", "max_file_mb: -1": "max_file_mb", "max_files: 5000": "max_files", "zon: x": "zon",
	} {
		must(t, os.WriteFile(path, []byte("workorders: {"+bad+"}"), 0o600))
		if _, err := LoadConfig(path); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a refusal that says %s", bad, err, want)
		}
	}
}
