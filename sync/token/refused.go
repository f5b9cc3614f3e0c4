package token

import (
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// Refused is why a token was not accepted. Its text never holds any of the token's secrets and
// may be shown to the caller.
type Refused struct {
	Code   string // one of the codes below; they stay the same over versions
	Detail string // for people
}

// Error is "token refused (code): detail".
func (r *Refused) Error() string { return "token refused (" + r.Code + "): " + r.Detail }

// The codes of Refused.
const (
	CodeTooLong    = "too_long"      // over 8 KiB
	CodeSegments   = "segments"      // not three non-empty segments
	CodeEncoding   = "encoding"      // not the one base64url form of its bytes
	CodeJSON       = "json"          // header or claims are not one JSON object
	CodeDuplicate  = "duplicate_key" // a key twice, or keys that differ by case only
	CodeHeader     = "header"        // a header that is not alg, kid, typ, or a bad value of those
	CodeAlgorithm  = "algorithm"     // not the algorithm of this issuer's keys
	CodeIssuer     = "issuer"        // nobody we know
	CodeKey        = "key"           // the issuer has no key of this id
	CodeSignature  = "signature"     // wrong
	CodeAudience   = "audience"      // meant for others
	CodeExpired    = "expired"       // no longer valid
	CodeNotYet     = "not_yet"       // nbf or iat in the future; or our clock is behind
	CodeLifetime   = "lifetime"      // lives longer than it may, or ends before it begins
	CodeClaim      = "claim"         // a claim is missing, of the wrong type or out of bounds
	CodeMembership = "membership"    // a membership is malformed, a wildcard, or not this issuer's to give
	CodeRevoked    = "revoked"       // its subject or session was locked out
)

func refuse(code, format string, args ...any) *Refused {
	return &Refused{Code: code, Detail: fmt.Sprintf(format, args...)}
}

// verdicts says which code an error of the JWT library stands for, the first match counts.
var verdicts = []struct {
	err          error
	code, detail string
}{
	{jwt.ErrTokenSignatureInvalid, CodeSignature, "the signature is wrong"},
	{jwt.ErrTokenExpired, CodeExpired, "it is no longer valid; log in again, or refresh it"},
	{jwt.ErrTokenNotValidYet, CodeNotYet, "it is not valid yet; is the clock of this machine right?"},
	{jwt.ErrTokenUsedBeforeIssued, CodeNotYet, "it was issued in the future; is the clock of this machine right?"},
	{jwt.ErrTokenInvalidAudience, CodeAudience, "it is meant for another audience"},
	{jwt.ErrTokenInvalidIssuer, CodeIssuer, "its issuer is not known here"},
	{jwt.ErrTokenRequiredClaimMissing, CodeClaim, "a required claim is missing"},
	{jwt.ErrTokenMalformed, CodeEncoding, "it is malformed"},
}

// refusal turns an error of the JWT library into ours.
func refusal(err error) *Refused {
	var own *Refused
	if errors.As(err, &own) {
		return own
	}
	for _, v := range verdicts {
		if errors.Is(err, v.err) {
			return refuse(v.code, "%s", v.detail)
		}
	}
	return refuse(CodeSignature, "it could not be verified")
}
