import struct, socket
def ck(b):
    if len(b)%2: b+=b'\0'
    s=sum(struct.unpack('!%dH'%(len(b)//2),b)); s=(s>>16)+(s&0xffff); s+=s>>16
    return (~s)&0xffff
m1=bytes.fromhex('02000a010105'); m2=bytes.fromhex('02000a010205')
def eth(d,s,t,p): return d+s+struct.pack('!H',t)+p
def ip4(src,dst,proto,p,frag=0x4000,ident=0):
    h=struct.pack('!BBHHHBBH4s4s',0x45,0,20+len(p),ident,frag,64,proto,0,socket.inet_aton(src),socket.inet_aton(dst))
    return h[:10]+struct.pack('!H',ck(h))+h[12:]+p
def p4(src,dst,proto,n): return socket.inet_aton(src)+socket.inet_aton(dst)+struct.pack('!BBH',0,proto,n)
def p6(src,dst,proto,n): return socket.inet_pton(10,src)+socket.inet_pton(10,dst)+struct.pack('!IHBB',n,0,0,proto)
def ip6(src,dst,proto,p): return struct.pack('!IHBB',0x60000000,len(p),proto,64)+socket.inet_pton(10,src)+socket.inet_pton(10,dst)+p
def tcp(ph,sp,dp,seq,ack,fl,data=b'',win=0):
    h=struct.pack('!HHIIBBHHH',sp,dp,seq,ack,0x50,fl,win,0,0)+data
    c=ck(ph(len(h))+h); return h[:16]+struct.pack('!H',c)+h[18:]
def udp(ph,sp,dp,data):
    h=struct.pack('!HHHH',sp,dp,8+len(data),0)+data
    c=ck(ph(len(h))+h); return h[:6]+struct.pack('!H',c)+h[8:]
def icmp(t,c,rest,ph=b''):
    h=struct.pack('!BBH',t,c,0)+rest
    k=ck(ph+h); return h[:2]+struct.pack('!H',k)+h[4:]
A,B='10.1.0.15','10.1.0.25'; A6,B6='fd00::15','fd00::25'
f4=lambda n:p4(A,B,6,n); r4=lambda n:p4(B,A,6,n)
cases=[]
def case(name,q,a): cases.append((name,q.hex(),a.hex() if a else ''))
case('SYN over IPv4',eth(m2,m1,0x800,ip4(A,B,6,tcp(f4,40000,80,1000,0,2,win=8192))),eth(m1,m2,0x800,ip4(B,A,6,tcp(r4,80,40000,0,1001,0x14))))
case('data with ACK over IPv4',eth(m2,m1,0x800,ip4(A,B,6,tcp(f4,40000,80,1000,0xfffffff0,0x18,b'hello',8192))),eth(m1,m2,0x800,ip4(B,A,6,tcp(r4,80,40000,0xfffffff0,0,0x04))))
case('data without ACK, sequence wraps',eth(m2,m1,0x800,ip4(A,B,6,tcp(f4,40000,80,0xfffffffe,0,0x01,b'hello',8192))),eth(m1,m2,0x800,ip4(B,A,6,tcp(r4,80,40000,0,4,0x14))))
s6=lambda n:p6(A6,B6,6,n); t6=lambda n:p6(B6,A6,6,n)
case('SYN over IPv6',eth(m2,m1,0x86dd,ip6(A6,B6,6,tcp(s6,40000,80,7,0,2,win=8192))),eth(m1,m2,0x86dd,ip6(B6,A6,6,tcp(t6,80,40000,0,8,0x14))))
u=ip4(A,B,17,udp(lambda n:p4(A,B,17,n),5000,7,b'odd'))
case('UDP over IPv4, padded frame',eth(m2,m1,0x800,u)+b'\0'*15,eth(m1,m2,0x800,ip4(B,A,1,icmp(3,13,b'\0'*4+u))))
u6=ip6(A6,B6,17,udp(lambda n:p6(A6,B6,17,n),5000,7,b'odd'))
case('UDP over IPv6',eth(m2,m1,0x86dd,u6),eth(m1,m2,0x86dd,ip6(B6,A6,58,icmp(1,1,b'\0'*4+u6,p6(B6,A6,58,8+len(u6))))))
e=ip4(A,B,1,icmp(8,0,b'\0\1\0\1ping'))
case('echo request',eth(m2,m1,0x800,e),eth(m1,m2,0x800,ip4(B,A,1,icmp(3,13,b'\0'*4+e))))
case('RST',eth(m2,m1,0x800,ip4(A,B,6,tcp(f4,1,2,3,4,4))),None)
case('ICMP error',eth(m2,m1,0x800,ip4(A,B,1,icmp(3,1,b'\0'*4+u))),None)
case('ICMPv6 error',eth(m2,m1,0x86dd,ip6(A6,B6,58,icmp(1,0,b'\0'*4,p6(A6,B6,58,8)))),None)
case('first fragment',eth(m2,m1,0x800,ip4(A,B,17,b'\0'*16,0x2000)),None)
case('later fragment',eth(m2,m1,0x800,ip4(A,B,17,b'\0'*16,0x0002)),None)
case('IPv6 fragment',eth(m2,m1,0x86dd,ip6(A6,B6,44,bytes([17,0,0,1,0,0,0,1])+b'\0'*8)),None)
case('multicast MAC',eth(bytes.fromhex('01005e010101'),m1,0x800,ip4(A,'239.1.1.1',17,b'\0'*16)),None)
case('broadcast',eth(b'\xff'*6,m1,0x800,ip4(A,B,17,b'\0'*16)),None)
case('multicast address in a unicast frame',eth(m2,m1,0x86dd,ip6(A6,'ff02::1',17,b'\0'*16)),None)
case('source nobody',eth(m2,m1,0x800,ip4('0.0.0.0',B,17,b'\0'*16)),None)
case('ARP',eth(m2,m1,0x806,b'\0'*28),None)
case('TCP cut short',eth(m2,m1,0x800,ip4(A,B,6,tcp(f4,1,2,3,4,2)))[:40],None)
print('# Packets and the answers to them, by test/capture/reject-answers.py; no answer: -')
for n,q,a in cases: print(f'\nline {n}\npacket {q}\nanswer {a or "-"}')
