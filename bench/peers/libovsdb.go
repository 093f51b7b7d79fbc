// Command ports adds ports to a bridge in one transaction with libovsdb, and prints how long that took. It is built by
// bench/peer.ts. Usage: ports SOCKET BRIDGE COUNT.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"strconv"
	"time"

	"github.com/ovn-kubernetes/libovsdb/client"
	"github.com/ovn-kubernetes/libovsdb/model"
	"github.com/ovn-kubernetes/libovsdb/ovsdb"
)

// Bridge has the columns of the table that are used.
type Bridge struct {
	UUID  string   `ovsdb:"_uuid"`
	Name  string   `ovsdb:"name"`
	Ports []string `ovsdb:"ports"`
}

// Port has the columns of the table that are used.
type Port struct {
	UUID       string   `ovsdb:"_uuid"`
	Name       string   `ovsdb:"name"`
	Interfaces []string `ovsdb:"interfaces"`
}

// Interface has the columns of the table that are used.
type Interface struct {
	UUID    string            `ovsdb:"_uuid"`
	Name    string            `ovsdb:"name"`
	Type    string            `ovsdb:"type"`
	Options map[string]string `ovsdb:"options"`
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	socket, name := os.Args[1], os.Args[2]
	count, err := strconv.Atoi(os.Args[3])
	check(err)
	tables, err := model.NewClientDBModel("Open_vSwitch", map[string]model.Model{
		"Bridge": &Bridge{}, "Port": &Port{}, "Interface": &Interface{},
	})
	check(err)
	ctx := context.Background()
	ovs, err := client.NewOVSDBClient(tables, client.WithEndpoint("unix:"+socket))
	check(err)
	check(ovs.Connect(ctx))
	_, err = ovs.MonitorAll(ctx)
	check(err)
	var bridges []Bridge
	check(ovs.WhereCache(func(b *Bridge) bool { return b.Name == name }).List(ctx, &bridges))

	start := time.Now()
	bridge := &bridges[0]
	devices := make([]model.Model, 0, count)
	ports := make([]model.Model, 0, count)
	names := make([]string, 0, count)
	for i := 0; i < count; i++ {
		device := &Interface{
			UUID: fmt.Sprintf("interface%d", i),
			Name: fmt.Sprintf("vx%d", i),
			Type: "vxlan",
			Options: map[string]string{
				"remote_ip": fmt.Sprintf("10.1.%d.%d", i/256, i%256), "key": "flow", "dst_port": "4789",
			},
		}
		port := &Port{
			UUID: fmt.Sprintf("port%d", i), Name: device.Name, Interfaces: []string{device.UUID},
		}
		devices = append(devices, device)
		ports = append(ports, port)
		names = append(names, port.UUID)
	}
	operations, err := ovs.Create(devices...)
	check(err)
	inserts, err := ovs.Create(ports...)
	check(err)
	operations = append(operations, inserts...)
	mutation, err := ovs.Where(bridge).Mutate(bridge, model.Mutation{
		Field: &bridge.Ports, Mutator: ovsdb.MutateOperationInsert, Value: names,
	})
	check(err)
	operations = append(operations, mutation...)
	results, err := ovs.Transact(ctx, operations...)
	check(err)
	_, err = ovsdb.CheckOperationResults(results, operations)
	check(err)
	fmt.Println(float64(time.Since(start).Nanoseconds()) / 1e6)
}
