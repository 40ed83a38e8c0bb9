// Command witness reports what a pod sees: as a server that answers with its host name, and as a client
// (resolve NAME, fetch URL [CA FILE]) for kubectl exec.
package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, arguments []string) error {
	switch {
	case len(arguments) == 1 && arguments[0] == "serve":
		return serve(ctx)
	case len(arguments) == 2 && arguments[0] == "resolve":
		return resolve(ctx, arguments[1])
	case len(arguments) == 2 && arguments[0] == "fetch":
		return fetch(arguments[1], nil)
	case len(arguments) == 3 && arguments[0] == "fetch":
		authorities, err := os.ReadFile(arguments[2])
		if err != nil {
			return err
		}
		return fetch(arguments[1], authorities)
	}
	return fmt.Errorf("usage: witness serve | resolve NAME | fetch URL [CA FILE]")
}

func serve(ctx context.Context) error {
	name, err := os.Hostname()
	if err != nil {
		return err
	}
	server := &http.Server{Addr: ":8080", Handler: http.HandlerFunc(
		func(response http.ResponseWriter, request *http.Request) {
			fmt.Printf("%s %s\n", request.Method, request.URL.Path)
			fmt.Fprintf(response, "%s\n", name)
		})}
	go func() {
		<-ctx.Done()
		_ = server.Close()
	}()
	fmt.Printf("serving as %s\n", name)
	if err := server.ListenAndServe(); err != http.ErrServerClosed {
		return err
	}
	return nil
}

func resolve(ctx context.Context, name string) error {
	addresses, err := net.DefaultResolver.LookupHost(ctx, name)
	if err == nil {
		fmt.Println(strings.Join(addresses, " "))
	}
	return err
}

func fetch(url string, authorities []byte) error {
	trusted := x509.NewCertPool()
	trusted.AppendCertsFromPEM(authorities)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: trusted}}
	client := http.Client{Timeout: 5 * time.Second, Transport: transport}
	response, err := client.Get(url)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	_, err = io.Copy(os.Stdout, response.Body)
	return err
}
