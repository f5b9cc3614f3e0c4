package payload

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// Wiegand reads a frame of 26 or 34 bits: its bits as 0 and 1, or their number and hex digits as in
// "26:2A3F1C7". It gives facility and card number, as in "97-12345"; ok is false for a frame whose
// parity is wrong or whose length is another.
//
// Both formats begin with an even parity bit over the first half and end with an odd one over the
// second; of what is between, the first 8 (26 bits) or 16 (34 bits) are the facility.
func Wiegand(text string) (id string, ok bool) {
	n, frame, ok := wiegandBits(strings.TrimSpace(text))
	if !ok {
		return "", false
	}
	half := n / 2
	first, second := frame>>half, frame&(1<<half-1)
	if bits.OnesCount64(first)%2 != 0 || bits.OnesCount64(second)%2 != 1 {
		return "", false
	}
	data := frame >> 1 & (1<<(n-2) - 1)
	return fmt.Sprintf("%d-%d", data>>16, data&0xffff), true
}

func wiegandBits(text string) (n int, frame uint64, ok bool) {
	count, digits, hex := strings.Cut(text, ":")
	base := 16
	if !hex {
		digits, base = text, 2
		count = strconv.Itoa(len(text))
	}
	if count != "26" && count != "34" || strings.ContainsAny(digits, "+-_") {
		return 0, 0, false
	}
	n, _ = strconv.Atoi(count)
	frame, err := strconv.ParseUint(digits, base, 64)
	return n, frame, err == nil && frame < 1<<n
}
