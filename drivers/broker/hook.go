package broker

import (
	"bytes"
	"errors"
	"time"

	"github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/headcount-hub/headcount/drivers/payload"
	"github.com/headcount-hub/headcount/edge"
)

// hook joins the MQTT server with the sessions.
//
// A publish is given back to the server as one of QoS 0 to ignore, and it does nothing more with
// it: quota, acknowledgement, retaining and fan-out of a client's messages are the session's. After the
// commit the session publishes the message anew through the server's inline client; that one
// passes the hook.
type hook struct {
	mqtt.HookBase
	s       *server
	clients int
}

func (h *hook) ID() string { return "headcount" }

func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		mqtt.OnConnectAuthenticate, mqtt.OnACLCheck, mqtt.OnSessionEstablish, mqtt.OnDisconnect,
		mqtt.OnPacketRead, mqtt.OnPublish, mqtt.OnWillSent,
	}, b) >= 0
}

// OnConnectAuthenticate checks user and password. A client id belongs to the user who has a
// session under it: nobody else can take it over.
func (h *hook) OnConnectAuthenticate(cl *mqtt.Client, pk packets.Packet) bool {
	if !h.s.users.authenticate(string(pk.Connect.Username), pk.Connect.Password) {
		h.s.log.Warn("client refused: wrong user or password", "client", cl.ID, "user", string(pk.Connect.Username), "remote", cl.Net.Remote)
		return false
	}
	old, known := h.s.mqtt.Clients.Get(cl.ID)
	if known && !bytes.Equal(old.Properties.Username, cl.Properties.Username) {
		h.s.log.Warn("client refused: its id belongs to another user", "client", cl.ID, "user", string(pk.Connect.Username), "remote", cl.Net.Remote)
		return false
	}
	if !known && h.s.mqtt.Clients.Len() > sessionsPerConn*h.clients {
		h.s.log.Warn("client refused: too many sessions are kept", "client", cl.ID, "remote", cl.Net.Remote)
		return false
	}
	return cl.ID != mqtt.InlineClientId
}

// OnACLCheck tells whether the client may publish (write) or receive a topic.
func (h *hook) OnACLCheck(cl *mqtt.Client, topic string, write bool) bool {
	return h.s.users.allows(string(cl.Properties.Username), cl.ID, topic, write)
}

// OnSessionEstablish begins the session before the first message is read.
func (h *hook) OnSessionEstablish(cl *mqtt.Client, _ packets.Packet) {
	h.s.open(cl, cl.ID)
	h.s.log.Debug("client connected", "client", cl.ID, "remote", cl.Net.Remote)
}

// OnPacketRead takes care of QoS 2, which the broker does not offer. An MQTT 5 client was told
// so. One of 3.1.1 cannot be told; it gets the acknowledgement it waits for.
func (h *hook) OnPacketRead(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	switch pk.FixedHeader.Type {
	case packets.Connect:
		if pk.ProtocolVersion < 5 && pk.Connect.WillQos > 1 {
			pk.Connect.WillQos = 1
		}
	case packets.Publish:
		c := h.s.find(cl)
		if c == nil {
			return pk, packets.ErrRejectPacket
		}
		if c.qos2 = pk.FixedHeader.Qos == 2; c.qos2 && cl.Properties.ProtocolVersion == 5 {
			_ = h.s.mqtt.DisconnectClient(cl, packets.ErrQosNotSupported)
			return pk, packets.ErrRejectPacket
		}
	}
	return pk, nil
}

// OnPublish takes a client's message. For the inline client's, see forward.
func (h *hook) OnPublish(cl *mqtt.Client, pk packets.Packet) (packets.Packet, error) {
	if cl.Net.Inline {
		pk.Origin = pk.Connect.ClientIdentifier
		return pk, nil
	}
	c := h.s.find(cl)
	if c == nil {
		return pk, packets.ErrRejectPacket
	}
	var ack byte
	switch {
	case c.qos2:
		ack = pubrec
	case pk.FixedHeader.Qos == 1:
		ack = puback
	}
	c.take(pk, ack)
	return done(pk), nil
}

// done is a message that leaves the server nothing to do. (It would write a rejected one to its
// log; preparing that costs an allocation of a kilobyte, even if nobody reads the log.)
func done(pk packets.Packet) packets.Packet {
	pk.FixedHeader.Qos, pk.FixedHeader.Retain, pk.Ignore = 0, false, true
	return pk
}

// forward serves the subscribers of a committed message. The sender's id travels in a field
// that a PUBLISH does not use, for subscribers who do not want their own messages back.
func (s *server) forward(pk packets.Packet) {
	inline, ok := s.mqtt.Clients.Get(mqtt.InlineClientId)
	if !ok {
		return
	}
	pk.Connect.ClientIdentifier = pk.Origin
	pk.Properties.TopicAlias, pk.Properties.TopicAliasFlag = 0, false
	pk.FixedHeader.Dup = false
	if err := s.mqtt.InjectPacket(inline, pk); err != nil {
		s.log.Debug("message was not passed on", "topic", pk.TopicName, "err", err)
	}
}

// OnWillSent takes a will, which says that a device is gone. Subscribers have it already.
func (h *hook) OnWillSent(cl *mqtt.Client, pk packets.Packet) {
	if h.s.ctx.Err() != nil {
		return // the hub is stopping, not the device
	}
	c := h.s.find(cl)
	if c == nil {
		c = h.s.wills
	}
	m := message{size: len(pk.Payload)}
	m.readings, m.reject = h.s.bindings.Take(payload.Input{Topic: pk.TopicName, Body: pk.Payload, Received: time.Now()})
	c.push(m)
}

// OnDisconnect ends the session; what it has queued is still delivered.
func (h *hook) OnDisconnect(cl *mqtt.Client, err error, _ bool) {
	h.s.log.Debug("client disconnected", "client", cl.ID, "remote", cl.Net.Remote, "err", err)
	c := h.s.find(cl)
	if c == nil {
		return
	}
	if errors.Is(err, packets.ErrPacketTooLarge) {
		c.push(message{reject: &edge.Rejection{
			Driver: Name, Device: payload.Clip(cl.ID, 200), Cause: payload.TooLarge, At: time.Now(),
			Detail: "MQTT packet larger than the broker takes; the client was disconnected",
		}})
	}
	c.end()
}
