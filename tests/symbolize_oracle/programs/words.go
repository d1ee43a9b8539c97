package main

import (
	"errors"
	"fmt"
	"os"
	"sort"
	"strings"
	"sync"
)

type shape interface{ area() float64 }

type square struct{ side float64 }

func (s *square) area() float64 { return s.side * s.side }

type circle struct{ radius float64 }

func (c circle) area() float64 { return 3.14159 * c.radius * c.radius }

func mapped[T, U any](all []T, with func(T) U) []U {
	out := make([]U, 0, len(all))
	for _, one := range all {
		out = append(out, with(one))
	}
	return out
}

type counts struct {
	mutex sync.Mutex
	by    map[string]int
}

func (c *counts) add(word string) (n int, err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if word == "" {
		return 0, errors.New("no word")
	}
	c.by[word]++
	return c.by[word], nil
}

func main() {
	words := append(strings.Fields("b a c a"), os.Args...)
	sort.Slice(words, func(i, j int) bool { return words[i] < words[j] })
	c := &counts{by: map[string]int{}}
	var group sync.WaitGroup
	for _, word := range mapped(words, strings.ToUpper) {
		group.Add(1)
		go func(word string) {
			defer group.Done()
			c.add(word)
		}(word)
	}
	group.Wait()
	var sum float64
	for _, s := range []shape{&square{2}, circle{1}} {
		sum += s.area()
	}
	fmt.Println(c.by, sum)
}
