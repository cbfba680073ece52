// Go's own net/http with the same answer as the example `hello`: what a handler costs that runs in the server's process.
//
//	GOMAXPROCS=1 go-native
package main

import (
	"fmt"
	"net"
	"net/http"
	"os"
)

func main() {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		fmt.Fprintln(os.Stderr, "go-native:", err)
		os.Exit(1)
	}
	fmt.Printf("listening on http://%s\n", listener.Addr())
	http.HandleFunc("GET /hello/{name}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		fmt.Fprintf(w, "Hello, %s!\n", r.PathValue("name"))
	})
	fmt.Fprintln(os.Stderr, "go-native:", http.Serve(listener, nil))
	os.Exit(1)
}
