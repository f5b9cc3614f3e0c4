package workorders

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// client is one WebSocket of a chat.
type client struct {
	t    *testing.T
	conn *websocket.Conn
}

func (r *rig) join(v View, token string) *client {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(r.t.Context(), patience)
	defer cancel()
	conn, _, err := websocket.Dial(ctx, r.url+"/ws/chat/"+v.ID+"/?token="+token, nil)
	must(r.t, err)
	r.t.Cleanup(func() { conn.CloseNow() })
	return &client{r.t, conn}
}

func (c *client) say(f Frame) {
	c.t.Helper()
	b, err := json.Marshal(f)
	must(c.t, err)
	must(c.t, c.conn.Write(c.t.Context(), websocket.MessageText, b))
}

// hear reads until a frame of this type comes.
func (c *client) hear(typ string) Frame {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), patience)
	defer cancel()
	for {
		_, b, err := c.conn.Read(ctx)
		if err != nil {
			c.t.Fatalf("waiting for %s: %v", typ, err)
		}
		var f Frame
		must(c.t, json.Unmarshal(b, &f))
		if f.Type == typ {
			return f
		}
	}
}

func TestTwoClientsSeeEachOther(t *testing.T) {
	r := newRig(t)
	v := r.order()
	at := "/v1/work-orders/" + v.ID + "/notes"
	r.call("ole", "POST", at, `{"text":"before"}`, 201, nil)
	ole, olga := r.join(v, "ole"), r.join(v, "olga")
	if h := ole.hear("history"); len(h.Notes) != 1 || h.Notes[0].Text != "before" {
		t.Fatalf("history is %+v, want the note before", h)
	}
	olga.hear("history")
	ole.say(Frame{Type: "note", Text: "hello @olga", Ref: "1"})
	if f := ole.hear("accepted"); f.Ref != "1" || f.Note.Text != "hello @olga" {
		t.Errorf("accepted is %+v", f)
	}
	heard := olga.hear("note")
	if heard.Note.Name != "Ole Operator" || fmt.Sprint(heard.Note.Mentions) != "[olga]" {
		t.Errorf("heard %+v, want the note of ole", heard.Note)
	}
	olga.say(Frame{Type: "note", Text: "hi"})
	for f := ole.hear("note"); f.Note.Text != "hi"; f = ole.hear("note") {
	}
	r.call("ole", "PATCH", at+"/"+heard.Note.ID, `{"text":"hello all"}`, 200, nil)
	if f := olga.hear("note_edited"); f.Note.Text != "hello all" || f.Note.EditedAt.IsZero() {
		t.Errorf("heard %+v, want the edit", f.Note)
	}
	r.call("ole", "DELETE", at+"/"+heard.Note.ID, nil, 204, nil)
	if f := olga.hear("note_deleted"); !f.Note.Deleted || f.Note.Text != "" {
		t.Errorf("heard %+v, want it deleted", f.Note)
	}
	if told := r.told("mention"); len(told) != 1 || told[0].User != "olga" {
		t.Errorf("told %+v, want olga", told)
	}
}

func TestWhoMayNotTalk(t *testing.T) {
	r := newRig(t)
	v := r.order()
	vera := r.join(v, "vera")
	vera.say(Frame{Type: "note", Text: "me too"})
	if f := vera.hear("error"); f.Error != "you may read only" {
		t.Errorf("a viewer heard %+v", f)
	}
	ole := r.join(v, "ole")
	for _, bad := range []string{"", "{}", "[1]", `{"type":"note","text":""}`, `{"type":"note","text":"x","Text":"y"}`, strings.Repeat("[", 500)} {
		must(t, ole.conn.Write(t.Context(), websocket.MessageText, []byte(bad)))
		if f := ole.hear("error"); f.Error == "" {
			t.Errorf("%q: heard %+v", bad, f)
		}
	}
	for token, want := range map[string]int{"other": 404, "nobody": 401, "": 401, "guest-none": 404} {
		_, resp, err := websocket.Dial(t.Context(), r.url+"/ws/chat/"+v.ID+"?token="+token, nil)
		if err == nil || resp == nil || resp.StatusCode != want {
			t.Errorf("%q: got %v, want %d", token, resp, want)
		}
	}
	_, resp, err := websocket.Dial(t.Context(), r.url+"/ws/chat/"+v.ID+"?token=ole", &websocket.DialOptions{HTTPHeader: map[string][]string{"Origin": {"https://evil.example"}}})
	if err == nil || resp.StatusCode != 403 {
		t.Errorf("a foreign page: got %v, want 403", resp)
	}
}

func TestAGuestSeesWhatIsSaidFromItsJoining(t *testing.T) {
	r := newRig(t)
	v := r.order()
	at := "/v1/work-orders/" + v.ID
	say := func(text string) {
		r.call("ole", "POST", at+"/notes", map[string]string{"text": text}, 201, nil)
		r.pass(time.Second)
	}
	var g Guest
	r.call("ole", "POST", at+"/guests", `{"name":"Gus"}`, 403, nil)
	r.call("mia", "POST", at+"/guests", `{"name":"Gus"}`, 201, &g)
	say("secret")
	guest := r.join(v, g.Token)
	if h := guest.hear("history"); len(h.Notes) != 0 {
		t.Fatalf("the guest sees %+v from before", h.Notes)
	}
	say("welcome")
	guest.hear("note")
	guest.say(Frame{Type: "note", Text: "thanks"})
	guest.hear("accepted")
	if h := r.join(v, g.Token).hear("history"); len(h.Notes) != 2 || h.Notes[1].Name != "Gus (guest)" {
		t.Errorf("joining again shows %+v, want welcome and thanks", h.Notes)
	}
	other := r.order()
	if _, resp, err := websocket.Dial(t.Context(), r.url+"/ws/chat/"+other.ID+"?token="+g.Token, nil); err == nil || resp.StatusCode != 404 {
		t.Errorf("the guest of another order got %v, want 404", resp)
	}
	r.pass(8 * 24 * time.Hour)
	if _, resp, err := websocket.Dial(t.Context(), r.url+"/ws/chat/"+v.ID+"?token="+g.Token, nil); err == nil || resp.StatusCode != 410 {
		t.Errorf("after a week the guest got %v, want 410", resp)
	}
	r.call("mia", "DELETE", at+"/guests/"+g.ID, nil, 204, nil)
}

func TestARevokedTokenIsNoticed(t *testing.T) {
	r := newRig(t)
	v := r.order()
	c := &conversation{m: r.m, order: v.ID, raw: "ole"}
	must(t, c.check(t.Context()))
	r.mu.Lock()
	r.revoked["ole"] = true
	r.mu.Unlock()
	if err := c.check(t.Context()); err == nil || c.mayWrite.Load() {
		t.Error("a revoked token may go on")
	}
}

func TestNotesAreOnesOwnForFifteenMinutes(t *testing.T) {
	r := newRig(t)
	v := r.order()
	at := "/v1/work-orders/" + v.ID + "/notes"
	var n Note
	r.call("ole", "POST", at, `{"text":"wrong @vera"}`, 201, &n)
	r.call("olga", "PATCH", at+"/"+n.ID, `{"text":"x"}`, 403, nil)
	r.call("ole", "PATCH", at+"/"+n.ID, `{"text":"right @vera @mia"}`, 200, nil)
	if told := r.told("mention"); len(told) != 2 || told[1].User != "mia" {
		t.Errorf("told %+v, want vera once and mia", told)
	}
	r.pass(15*time.Minute + time.Millisecond)
	r.call("ole", "PATCH", at+"/"+n.ID, `{"text":"later"}`, 409, nil)
	r.call("ole", "DELETE", at+"/"+n.ID, nil, 409, nil)
	steps := r.steps(v)
	if last := steps[len(steps)-1]; last.What != "note_edited" || last.Why != "it was: wrong @vera" {
		t.Errorf("audit is %+v, want what it was", last)
	}
	r.call("ole", "POST", at, `{"text":"x","mentions":["other"]}`, 422, nil)
	r.call("vera", "POST", at, `{"text":"x"}`, 403, nil)
}

func TestWhoIsMentioned(t *testing.T) {
	people := []Person{{"1", "ann@x.org", "Ann Lee"}, {"2", "ann@y.org", "Ann Berg"}, {"3", "åse@x.org", "Åse Vik"}}
	for word, want := range map[string]string{"ann": "", "ann@y.org": "2", "annlee": "1", "ÅseVik": "3", "nobody": "", "2": "2"} {
		if got := meant(people, word); got != want {
			t.Errorf("@%s means %q, want %q", word, got, want)
		}
	}
}
