package hub

import "testing"

func TestAHubWhoseCloudIsAwayServesAndSaysSo(t *testing.T) {
	s := serve(t, parse(t, t.TempDir(), `uplink: {url: "nats://127.0.0.1:1", org: acme}`))
	s.accept(`{"sensor":"seats","count_abs":2}`)
	st := s.look().status
	if u := st.Uplink; !u.Configured || u.Connected || u.Reason == "" {
		t.Errorf("uplink %+v, want it configured, not connected, and why", u)
	}
	if st.Lanes.Readings.BacklogRecords != 1 || st.Lanes.Events.BacklogRecords == 0 {
		t.Errorf("lanes %+v, want everything in the backlog", st.Lanes)
	}
}
