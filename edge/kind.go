package edge

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
)

// KindInfo says what values of a kind are like where nothing else is said.
type KindInfo struct {
	Semantics Semantics
	Shape     Shape
}

// Shape is what a value of a kind may be.
type Shape uint8

// The shapes.
const (
	AnyShape   Shape = iota // a number, a boolean or a text
	Truth                   // true or false; 1 and 0 stand for them
	Whole                   // a whole number from 0 to 2^53
	RealNumber              // any finite number
	Word                    // one of the kind's own words
	Label                   // a text; a number stands for its digits
)

var kinds = map[Kind]KindInfo{
	Presence:      {State, Truth},
	ContactKind:   {State, AnyShape},
	CountIn:       {Cumulative, Whole},
	CountOut:      {Cumulative, Whole},
	CountAbs:      {Absolute, Whole},
	CountAbsMax:   {PeriodMax, Whole},
	TargetCount:   {Absolute, Whole},
	DeviceCount:   {Absolute, Whole},
	MotionCount:   {Delta, Whole},
	UsageCount:    {Delta, Whole},
	Flow:          {Delta, RealNumber},
	CO2PPM:        {Absolute, RealNumber},
	TemperatureC:  {Absolute, RealNumber},
	HumidityPct:   {Absolute, RealNumber},
	Illuminance:   {Absolute, RealNumber},
	LightLevel:    {Absolute, RealNumber},
	Daylight:      {State, AnyShape},
	DistanceMM:    {Absolute, RealNumber},
	PressureHPa:   {Absolute, RealNumber},
	BatteryV:      {Absolute, RealNumber},
	"battery_pct": {Absolute, RealNumber},
	SeqKind:       {Sequence, RealNumber},
	Health:        {State, AnyShape},
	Tamper:        {State, AnyShape},
	TeachIn:       {PassageEvent, AnyShape},
	StatusBits:    {Absolute, RealNumber},
	Access:        {PassageEvent, Word},
	Direction:     {PassageEvent, Word},
	Method:        {PassageEvent, Word},
	AccessReason:  {PassageEvent, Label},
	BadgeID:       {PassageEvent, Label},
	DoorAlarm:     {AlarmSemantics, Word},
	LinkQuality:   {Absolute, RealNumber},
	SignalDBm:     {Absolute, RealNumber},
}

// words are those that kinds of the shape Word take.
var words = map[Kind][]string{
	Access:    {Granted, Denied},
	Direction: {In, Out, "none"},
	Method:    {"card", "pin", "mobile", "remote"},
	DoorAlarm: {Forced, HeldOpen},
}

// Words lists the words that values of kind k may have; none unless its shape is Word.
func (k Kind) Words() []string { return slices.Clone(words[k]) }

// Info tells what values of kind k are like; false for a kind that does not exist.
func (k Kind) Info() (KindInfo, bool) {
	i, ok := kinds[k]
	return i, ok
}

// KnownKinds calls yield with every kind, in no order.
func KnownKinds(yield func(Kind, KindInfo) bool) {
	for k, i := range kinds {
		if !yield(k, i) {
			return
		}
	}
}

// Fit turns v into the shape, where 1 and 0 may stand for true and false, or says what is wrong.
func (s Shape) Fit(v Value) (Value, error) {
	switch s {
	case Truth:
		if v.Type == Number && (v.Num == 0 || v.Num == 1) {
			v.Type = Bool
		}
		if v.Type != Bool {
			return v, fmt.Errorf("%s: want true or false", v.Kind)
		}
	case Whole:
		if v.Type != Number || !(v.Num >= 0 && v.Num <= 1<<53) || v.Num != math.Trunc(v.Num) {
			return v, fmt.Errorf("%s: want a whole number from 0", v.Kind)
		}
	case RealNumber:
		if v.Type != Number || math.IsNaN(v.Num) || math.IsInf(v.Num, 0) {
			return v, fmt.Errorf("%s: want a number", v.Kind)
		}
	case Word: // what is wrong is not shown: it may be a badge in the wrong place
		if v.Type != Text || !slices.Contains(words[v.Kind], v.Text) {
			return v, fmt.Errorf("%s: want %s", v.Kind, strings.Join(words[v.Kind], " or "))
		}
	case Label:
		if v.Type == Number && !math.IsNaN(v.Num) && !math.IsInf(v.Num, 0) {
			v = TextValue(v.Kind, v.Semantics, strconv.FormatFloat(v.Num, 'f', -1, 64))
		}
		if v.Type != Text {
			return v, fmt.Errorf("%s: want a text", v.Kind)
		}
	}
	return v, nil
}
