package hub

import (
	"github.com/headcount-hub/headcount/edge/config"
	"github.com/headcount-hub/headcount/edge/discover"
)

// announce tells the local network by mDNS that the hub is here, when others can reach it and the
// configuration lets it. It returns how to stop. A network without multicast is no reason not to
// run.
func (h *Hub) announce() (stop func()) {
	c := h.cfg
	if !c.Discovery.MDNS || config.IsLoopback(h.ln.Addr().String()) {
		return func() {}
	}
	a, err := discover.Announce(discover.Announcement{
		Site: c.Site.ID, Version: h.opts.Version, Addr: h.ln.Addr(), TLS: c.HTTP.TLSCertFile != "" || c.HTTP.SelfSigned(),
	})
	if err != nil {
		h.log.Warn("the hub is not announced in the local network", "err", err)
		return func() {}
	}
	return func() {
		if err := a.Close(); err != nil {
			h.log.Debug("end of the announcement", "err", err)
		}
	}
}
