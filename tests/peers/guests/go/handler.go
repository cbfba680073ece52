// A handler in Go on the serve_http ABI (guest-sdk/abi/ABI.md), with the program's usual start: packages that build
// tables before the first request.
//
//	GOOS=wasip1 GOARCH=wasm go build -buildmode=c-shared
package main

import (
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strings"
	"time"
	"unsafe"
)

//go:wasmimport wasmux:http/1 request_head
func requestHead(buffer unsafe.Pointer, size uint32) int32

//go:wasmimport wasmux:http/1 respond
func respond(status uint32, fields unsafe.Pointer, fieldsSize uint32, body unsafe.Pointer, bodySize uint32) int32

// What a program has at its start: here 4,096 words to be found, and an expression that is compiled.
var (
	words  = map[string]int{}
	number = regexp.MustCompile(`^[0-9]{1,6}$`)
)

func init() {
	for n := range 4096 {
		words[fmt.Sprintf("word-%d", n)] = n
	}
}

// The buffers outlive a request: there is one at a time.
var (
	head   [64 << 10]byte
	fields = contentType("text/plain; charset=utf-8")
)

// How many requests this instance has been asked that.
var requests int

// contentType is a field block of one field.
func contentType(value string) []byte {
	const name = "content-type"
	block := binary.LittleEndian.AppendUint32(nil, 1)
	block = binary.LittleEndian.AppendUint32(block, uint32(len(name)))
	block = binary.LittleEndian.AppendUint32(block, uint32(len(value)))
	return append(append(block, name...), value...)
}

// span is a text of the request's head, by the place of its offset in the fixed part.
func span(at uint32) string {
	offset := binary.LittleEndian.Uint32(head[at:])
	return string(head[offset : offset+binary.LittleEndian.Uint32(head[at+4:])])
}

const pathSpan, querySpan = 64, 72

//go:wasmexport serve_http
func serveHTTP() {
	if size := requestHead(unsafe.Pointer(&head), uint32(len(head))); size < 0 || int(size) > len(head) {
		answer(431, "the head is too large\n")
		return
	}
	query, err := url.ParseQuery(span(querySpan))
	if err != nil {
		answer(400, err.Error()+"\n")
		return
	}
	switch path := span(pathSpan); {
	case path == "/hello":
		answer(200, "Hello, "+query.Get("name")+"!\n")
	case strings.HasPrefix(path, "/word/"):
		rest := strings.TrimPrefix(path, "/word/")
		place, found := words["word-"+rest]
		if !number.MatchString(rest) || !found {
			answer(404, "no such word\n")
			return
		}
		answer(200, fmt.Sprintf("%d\n", place))
	case path == "/env":
		answer(200, os.Getenv(query.Get("name"))+"\n")
	case path == "/random":
		var bytes [16]byte
		rand.Read(bytes[:])
		answer(200, hex.EncodeToString(bytes[:])+"\n")
	case path == "/time":
		begun := time.Now()
		answer(200, fmt.Sprintf("%d %t\n", begun.Unix(), time.Since(begun) >= 0))
	case path == "/count":
		requests++
		answer(200, fmt.Sprintf("%d\n", requests))
	case path == "/panic":
		panic("this handler panics")
	default:
		answer(404, "not found\n")
	}
}

func answer(status uint32, text string) {
	body := []byte(text)
	respond(status, unsafe.Pointer(unsafe.SliceData(fields)), uint32(len(fields)), unsafe.Pointer(unsafe.SliceData(body)), uint32(len(body)))
}

func main() {}
