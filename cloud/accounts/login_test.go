package accounts

import (
	"net/http"
	"net/http/cookiejar"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestLoginAnswersTokensThatProveTheUser(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	id := r.user("Ann@Example.org", "acme", "manager")
	login := r.login("ann@example.ORG")
	if login.TokenType != "Bearer" || login.ExpiresIn <= 0 || login.ExpiresIn > 900 || login.User.ID != id {
		t.Errorf("the login answers %+v", login)
	}
	var me caller
	r.want(200, "GET", "/auth/me", login.AccessToken, nil).into(t, &me)
	if me.Subject != id || len(me.Memberships) != 1 || me.Memberships[0].Role.String() != "manager" || me.User == nil || me.User.Email != "Ann@Example.org" {
		t.Errorf("me is %+v", me)
	}
	r.want(401, "GET", "/auth/me", "", nil)
	r.want(401, "GET", "/auth/me", login.AccessToken+"x", nil)
	r.skip(AccessLife + time.Minute)
	r.want(401, "GET", "/auth/me", login.AccessToken, nil)
}

func TestWrongPasswordsAndUnknownAddressesAreAnsweredTheSame(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	wrong := r.want(401, "POST", "/auth/login", "", obj{"email": "ann@example.org", "password": "not the password"})
	unknown := r.want(401, "POST", "/auth/login", "", obj{"email": "bob@example.org", "password": "not the password"})
	if string(wrong.body) != string(unknown.body) {
		t.Errorf("%s and %s", wrong.body, unknown.body)
	}
}

func TestFiveWrongPasswordsLockTheAccountForThatAddress(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	guess := func() int {
		return r.do("POST", "/auth/login", "", obj{"email": "ann@example.org", "password": "not the password"}).status
	}
	for lock, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		for i := range 5 {
			if got := guess(); got != 401 {
				t.Fatalf("guess %d of lock %d: %d, want 401", i, lock, got)
			}
		}
		a := r.want(429, "POST", "/auth/login", "", obj{"email": "ann@example.org", "password": good})
		if after, err := time.ParseDuration(a.header.Get("Retry-After") + "s"); err != nil || after > want || after < want-5*time.Second {
			t.Errorf("lock %d: Retry-After %s, want %s", lock, after, want)
		}
		r.skip(want + time.Second)
	}
	r.login("ann@example.org")
	if got := guess(); got != 401 {
		t.Errorf("after a good login a guess is answered %d", got)
	}
}

func TestManyGuessesAtOnceAreNotMoreThanManyInARow(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	var wg sync.WaitGroup
	var mu sync.Mutex
	count := map[int]int{}
	for range 12 {
		wg.Go(func() {
			a, err := r.try("POST", "/auth/login", "", obj{"email": "ann@example.org", "password": "not the password"})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				count[a.status]++
			}
		})
	}
	wg.Wait()
	if count[401] != 5 || count[429] != 7 {
		t.Errorf("answers %v, want five times 401 and seven times 429", count)
	}
}

func TestRefreshTokensAreGoodOnce(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	first := r.login("ann@example.org")
	var second tokens
	r.want(200, "POST", "/auth/refresh", "", obj{"refresh_token": first.RefreshToken}).into(t, &second)
	r.want(200, "GET", "/auth/me", second.AccessToken, nil)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": first.RefreshToken})
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": second.RefreshToken}) // the whole login has ended
	r.want(401, "GET", "/auth/me", second.AccessToken, nil)
	r.want(401, "GET", "/auth/me", first.AccessToken, nil)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": "nonsense"})
	r.want(200, "GET", "/auth/me", r.login("ann@example.org").AccessToken, nil)
}

func TestOfTwoRefreshesAtOnceOneWinsAndTheLoginEnds(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	login := r.login("ann@example.org")
	var wg sync.WaitGroup
	answers := make([]answer, 2)
	for i := range answers {
		wg.Go(func() { answers[i], _ = r.try("POST", "/auth/refresh", "", obj{"refresh_token": login.RefreshToken}) })
	}
	wg.Wait()
	if answers[0].status+answers[1].status != 200+401 {
		t.Fatalf("answers %d and %d, want 200 and 401", answers[0].status, answers[1].status)
	}
	winner := answers[0]
	if winner.status != 200 {
		winner = answers[1]
	}
	var tok tokens
	winner.into(t, &tok)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": tok.RefreshToken})
}

func TestRefreshTokensExpireWhenNotUsed(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	login := r.login("ann@example.org")
	r.skip(SessionLife - time.Hour)
	r.want(200, "POST", "/auth/refresh", "", obj{"refresh_token": login.RefreshToken}).into(t, &login)
	r.skip(SessionLife + time.Hour)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": login.RefreshToken})
}

func TestLogoutEndsTheLogin(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	one, other := r.login("ann@example.org"), r.login("ann@example.org")
	r.want(204, "POST", "/auth/logout", one.AccessToken, nil)
	r.want(401, "GET", "/auth/me", one.AccessToken, nil)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": one.RefreshToken})
	r.want(200, "GET", "/auth/me", other.AccessToken, nil)
	r.want(204, "POST", "/auth/logout", "", obj{"refresh_token": other.RefreshToken})
	r.want(401, "GET", "/auth/me", other.AccessToken, nil)
}

func TestCookieLoginKeepsTokensFromScripts(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	jar, err := cookiejar.New(nil)
	must(t, err)
	c := &http.Client{Jar: jar}
	post := func(path, body string) *http.Response {
		t.Helper()
		resp, err := c.Post(r.url+path, "application/json", strings.NewReader(body))
		must(t, err)
		resp.Body.Close()
		return resp
	}
	resp := post("/auth/login?cookie=1", `{"email":"ann@example.org","password":"`+good+`"}`)
	if len(resp.Cookies()) != 2 {
		t.Fatalf("cookies %v", resp.Cookies())
	}
	for _, k := range resp.Cookies() {
		if !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Secure {
			t.Errorf("cookie %s", k.Raw)
		}
	}
	me := func() int {
		resp, err := c.Get(r.url + "/auth/me")
		must(t, err)
		resp.Body.Close()
		return resp.StatusCode
	}
	if got := me(); got != 200 {
		t.Errorf("me by cookie: %d", got)
	}
	if got := post("/auth/refresh", "").StatusCode; got != 200 || me() != 200 {
		t.Errorf("refresh by cookie: %d", got)
	}
	if got := post("/auth/logout", "").StatusCode; got != 204 || me() != 401 {
		t.Errorf("logout by cookie: %d", got)
	}
}

func TestPasswordChangeEndsTheOtherLogins(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	mine, other := r.login("ann@example.org"), r.login("ann@example.org")
	r.want(403, "POST", "/auth/password", mine.AccessToken, obj{"current": "wrong", "new": "another long phrase"})
	r.want(422, "POST", "/auth/password", mine.AccessToken, obj{"current": good, "new": "short"})
	r.want(204, "POST", "/auth/password", mine.AccessToken, obj{"current": good, "new": "another long phrase"})
	r.want(200, "GET", "/auth/me", mine.AccessToken, nil)
	r.want(401, "GET", "/auth/me", other.AccessToken, nil)
	r.want(401, "POST", "/auth/refresh", "", obj{"refresh_token": other.RefreshToken})
	r.want(401, "POST", "/auth/login", "", obj{"email": "ann@example.org", "password": good})
	r.want(200, "POST", "/auth/login", "", obj{"email": "ann@example.org", "password": "another long phrase"})
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	r := newRig(t)
	r.org("acme")
	r.user("ann@example.org", "acme", "viewer")
	r.user("bob@example.org", "acme", "viewer")
	mine, other, bob := r.login("ann@example.org"), r.login("ann@example.org"), r.login("bob@example.org")
	var list struct{ Sessions []Session }
	r.want(200, "GET", "/auth/sessions", mine.AccessToken, nil).into(t, &list)
	if len(list.Sessions) != 2 {
		t.Fatalf("sessions %+v", list)
	}
	for _, s := range list.Sessions {
		r.want(404, "DELETE", "/auth/sessions/"+s.ID, bob.AccessToken, nil)
		if !s.Current {
			r.want(204, "DELETE", "/auth/sessions/"+s.ID, mine.AccessToken, nil)
		}
	}
	r.want(200, "GET", "/auth/me", mine.AccessToken, nil)
	r.want(401, "GET", "/auth/me", other.AccessToken, nil)
}

func TestWeakPasswordsAreRefused(t *testing.T) {
	for _, p := range []string{"short", "ann@example.org1", "xx-ann.smith-xx", "1234567890", "Password1234", "aaaaaaaaaaaa", strings.Repeat("ab", 200), "abababababab", "long\xffenough text"} {
		if checkPassword(p, "ann.smith@example.org") == nil && checkPassword(p, "ann@example.org") == nil {
			t.Errorf("%q is taken", p)
		}
	}
	if err := checkPassword(good, "ann@example.org"); err != nil {
		t.Errorf("%q: %v", good, err)
	}
}

func TestRealHashes(t *testing.T) {
	r := newRig(t)
	r.a.memory = hashMemory
	hash, err := r.a.hashPassword(t.Context(), good)
	must(t, err)
	if !strings.HasPrefix(hash, "$argon2id$v=19$m=19456,t=2,p=1$") {
		t.Errorf("hash %s", hash)
	}
	for password, want := range map[string]bool{good: true, good + "x": false, "": false} {
		if is, err := r.a.passwordIs(t.Context(), password, hash); is != want || err != nil {
			t.Errorf("%q: %v %v", password, is, err)
		}
	}
	if is, err := r.a.passwordIs(t.Context(), "", ""); is || err != nil {
		t.Errorf("no password is set: %v %v", is, err)
	}
	for _, bad := range []string{"x", "$argon2id$v=19$m=9999999999,t=2,p=1$AAAA$AAAA", "$argon2id$v=19$m=1,t=1,p=0$AAAA$AAAA", "$argon2i$v=19$m=1"} {
		if _, err := r.a.passwordIs(t.Context(), good, bad); err == nil {
			t.Errorf("%q is taken for a hash", bad)
		}
	}
}

func BenchmarkHash(b *testing.B) {
	r := newRig(b)
	r.a.memory = hashMemory
	for b.Loop() {
		_, err := r.a.hashPassword(b.Context(), good)
		must(b, err)
	}
}
