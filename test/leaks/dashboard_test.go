package leaks_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"

	"clusterpki.io/operator/test/testenv"
)

// dashboard opens the page of the whole namespace, and reads what comes by itself for a while.
func (r *run) dashboard() {
	r.t.Helper()
	address, err := testenv.FreeAddress()
	if err != nil {
		r.t.Fatal(err)
	}
	args := []string{"dashboard", "-n", namespace, "--bind-address=" + address}
	r.background(r.admin(), args...)
	var link string
	testenv.Eventually(r.t, "the dashboard shows its link", func() error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if link = regexp.MustCompile(`http://\S+`).FindString(r.said["clusterpki "+strings.Join(args, " ")].String()); link == "" {
			return fmt.Errorf("it says nothing")
		}
		return nil
	})
	jar, err := cookiejar.New(nil)
	if err != nil {
		r.t.Fatal(err)
	}
	http.DefaultClient.Jar = jar
	response, err := http.Get(link) // which is good once, even where the page is not ready yet
	if err != nil {
		r.t.Fatal(err)
	}
	_ = response.Body.Close()
	r.get("http://" + address + "/")
	response, err = http.Get("http://" + address + "/events")
	if err != nil {
		r.t.Fatal(err)
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		_, _ = io.Copy(r.sink("the dashboard's events"), response.Body)
	}()
	r.t.Cleanup(func() {
		_ = response.Body.Close()
		<-read
	})
}

func (r *run) get(url string) {
	r.t.Helper()
	testenv.Eventually(r.t, url, func() error {
		response, err := http.Get(url)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		if _, err := io.Copy(r.sink(url), response.Body); err != nil || response.StatusCode != http.StatusOK {
			return errors.Join(errors.New(response.Status), err)
		}
		return nil
	})
}
