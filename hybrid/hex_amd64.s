#include "textflag.h"

// SSE2, which every amd64 has. Sixteen octets of 15, '0', and so on.
DATA low<>+0(SB)/8, $0x0f0f0f0f0f0f0f0f
DATA low<>+8(SB)/8, $0x0f0f0f0f0f0f0f0f
GLOBL low<>(SB), RODATA|NOPTR, $16
DATA nine<>+0(SB)/8, $0x0909090909090909
DATA nine<>+8(SB)/8, $0x0909090909090909
GLOBL nine<>(SB), RODATA|NOPTR, $16
DATA gap<>+0(SB)/8, $0x2727272727272727 // 'a' - 10 - '0'
DATA gap<>+8(SB)/8, $0x2727272727272727
GLOBL gap<>(SB), RODATA|NOPTR, $16
DATA zero<>+0(SB)/8, $0x3030303030303030 // '0'
DATA zero<>+8(SB)/8, $0x3030303030303030
GLOBL zero<>(SB), RODATA|NOPTR, $16
DATA letters<>+0(SB)/8, $0x6060606060606060 // 'a' - 1
DATA letters<>+8(SB)/8, $0x6060606060606060
GLOBL letters<>(SB), RODATA|NOPTR, $16
DATA six<>+0(SB)/8, $0x0606060606060606
DATA six<>+8(SB)/8, $0x0606060606060606
GLOBL six<>(SB), RODATA|NOPTR, $16
DATA word<>+0(SB)/8, $0x00ff00ff00ff00ff
DATA word<>+8(SB)/8, $0x00ff00ff00ff00ff
GLOBL word<>(SB), RODATA|NOPTR, $16

// DIGITS turns sixteen nibbles into digits: + '0', and + gap where over 9.
#define DIGITS(x, t) \
	MOVO x, t; \
	PCMPGTB X12, t; \
	PAND X13, t; \
	PADDB X14, x; \
	PADDB t, x

// func encodeBlocks(dst, src *byte, n int)
TEXT ·encodeBlocks(SB), NOSPLIT, $0-24
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVOU low<>(SB), X15
	MOVOU zero<>(SB), X14
	MOVOU gap<>(SB), X13
	MOVOU nine<>(SB), X12
encode:
	TESTQ CX, CX
	JZ encoded
	MOVOU (SI), X0
	MOVO X0, X1
	PSRLW $4, X0
	PAND X15, X0 // high nibbles
	PAND X15, X1 // low nibbles
	DIGITS(X0, X2)
	DIGITS(X1, X3)
	MOVO X0, X4
	PUNPCKLBW X1, X0 // high, low, high, low ...
	PUNPCKHBW X1, X4
	MOVOU X0, (DI)
	MOVOU X4, 16(DI)
	ADDQ $16, SI
	ADDQ $32, DI
	DECQ CX
	JMP encode
encoded:
	RET

// NIBBLES turns sixteen digits into nibbles: - '0', and - gap for a letter, which
// is what is over 'a' - 1 as a signed number. A letter's nibble may be 9 + 6 at
// most, any other 9; an octet of X9 is cleared where it is more.
#define NIBBLES(x, t, u) \
	MOVO x, t; \
	PCMPGTB X11, t; \
	MOVO t, u; \
	PAND X13, t; \
	PSUBB X14, x; \
	PSUBB t, x; \
	PAND X10, u; \
	PADDB X12, u; \
	PMINUB x, u; \
	PCMPEQB x, u; \
	PAND u, X9

// PAIRS turns nibbles h, l, h, l ... into words h<<4 | l.
#define PAIRS(x, t) \
	MOVO x, t; \
	PSLLW $4, x; \
	PSRLW $8, t; \
	POR t, x; \
	PAND X15, x

// func decodeBlocks(dst, src *byte, n int) bool
TEXT ·decodeBlocks(SB), NOSPLIT, $0-25
	MOVQ dst+0(FP), DI
	MOVQ src+8(FP), SI
	MOVQ n+16(FP), CX
	MOVOU word<>(SB), X15
	MOVOU zero<>(SB), X14
	MOVOU gap<>(SB), X13
	MOVOU nine<>(SB), X12
	MOVOU letters<>(SB), X11
	MOVOU six<>(SB), X10
	PCMPEQB X9, X9 // all is well so far
decode:
	TESTQ CX, CX
	JZ decoded
	MOVOU (SI), X0
	MOVOU 16(SI), X1
	NIBBLES(X0, X2, X3)
	NIBBLES(X1, X4, X5)
	PAIRS(X0, X2)
	PAIRS(X1, X3)
	PACKUSWB X1, X0
	MOVOU X0, (DI)
	ADDQ $32, SI
	ADDQ $16, DI
	DECQ CX
	JMP decode
decoded:
	PMOVMSKB X9, AX
	CMPL AX, $0xffff
	SETEQ ret+24(FP)
	RET
