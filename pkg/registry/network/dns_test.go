// SPDX-License-Identifier: Apache-2.0

package network

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/tagpin/tagpin/pkg/fair"
)

// manyAddresses returns a resolver whose nameserver has a number of addresses for each name and
// gives them over TCP.
func manyAddresses(number int) *net.Resolver {
	serve := func(conn net.Conn) {
		defer func() { _ = conn.Close() }()
		size := make([]byte, 2)
		if _, err := io.ReadFull(conn, size); err != nil {
			return
		}
		query := make([]byte, binary.BigEndian.Uint16(size))
		if _, err := io.ReadFull(conn, query); err != nil {
			return
		}
		var m dnsmessage.Message
		if err := m.Unpack(query); err != nil {
			return
		}
		question := m.Questions[0]
		reply := dnsmessage.Message{
			Header:    dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true},
			Questions: m.Questions,
		}
		for i := range number {
			if question.Type == dnsmessage.TypeA {
				reply.Answers = append(reply.Answers, dnsmessage.Resource{
					Header: dnsmessage.ResourceHeader{Name: question.Name, Class: dnsmessage.ClassINET},
					Body:   &dnsmessage.AResource{A: [4]byte{0, 0, byte(i >> 8), byte(i)}}, // all refused
				})
			}
		}
		data, err := reply.Pack()
		if err != nil {
			return
		}
		length := binary.BigEndian.AppendUint16(nil, uint16(len(data))) //nolint:gosec // up to 64 KiB
		_, _ = conn.Write(append(length, data...))
	}
	dial := func(context.Context, string, string) (net.Conn, error) {
		client, server := net.Pipe() // no packets: Go speaks to it as over TCP
		go serve(server)
		return client, nil
	}
	return &net.Resolver{PreferGo: true, Dial: dial}
}

// TestManyAddresses checks that a name with very many addresses in DNS is not connected to.
func TestManyAddresses(t *testing.T) {
	for number, want := range map[int]error{200: ErrAddress, 4000: nil} {
		n := &Network{Resolver: manyAddresses(number), Dials: &fair.Room{}}
		r, err := http.NewRequestWithContext(t.Context(), http.MethodHead, "https://r.example", nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := n.Transport().RoundTrip(r)
		if err == nil {
			_ = resp.Body.Close()
			t.Fatal("RoundTrip = nil, want an error")
		}
		if got := Kind(err); !errors.Is(got, want) {
			t.Errorf("%d addresses: %v (%v), want %v", number, got, err, want)
		}
	}
}
