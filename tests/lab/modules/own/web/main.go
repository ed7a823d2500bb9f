// Web is the application that must not notice anything: it answers the name of its Pod, and when it is told to stop it
// says at once that it is not ready, answers on until balancers know (Traefik takes up changes every 2 s at most, and its
// watch may lag), and finishes what it has begun.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"
)

func main() {
	listen := flag.String("listen", ":8080", "address to answer at")
	linger := flag.Duration("linger", 8*time.Second, "how long to answer on after being told to stop")
	stubborn := flag.Bool("stubborn", os.Getenv("STUBBORN") != "", "ignore being told to stop (also: STUBBORN set)")
	delay := flag.Duration("delay", 0, "how long to be unready after the start")
	flag.Parse()

	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	begun := time.Now()
	var stopping atomic.Bool
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, name) })
	mux.HandleFunc("/ready", func(w http.ResponseWriter, _ *http.Request) {
		if stopping.Load() || time.Since(begun) < *delay {
			http.Error(w, "not ready", http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ready")
	})
	server := &http.Server{Addr: *listen, Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	go func() {
		if err := server.ListenAndServe(); err != http.ErrServerClosed {
			log.Fatal(err)
		}
	}()

	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGINT, syscall.SIGTERM)
	for got := range stop {
		if *stubborn {
			log.Printf("%v is ignored", got)
			continue
		}
		break
	}
	stopping.Store(true)
	server.SetKeepAlivesEnabled(false)
	time.Sleep(*linger)
	ending, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	if err := server.Shutdown(ending); err != nil {
		log.Print(err)
	}
}
