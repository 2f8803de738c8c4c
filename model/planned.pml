/* Planned changes of docs/protocol.md (rules A): three nodes, one program, one administrator.
 *
 *     make model
 *
 * README.md says what is assumed and which rule each assertion guards. As in tasks.pml a session is
 * over for its node at any moment, its program is dead then, and only after that may another node
 * follow it (T1, L3). Nodes act on what they have read of the planned changes, however old it is.
 */

#ifdef BREAK_A1
#define A1(fact) ((fact) || (handover && target == n))
#else
#define A1(fact) (fact)  /* the target of a switchover, too, takes only what rules R allow */
#endif
#ifdef BREAK_A2
#define A2(fact) true
#else
#define A2(fact) (fact)  /* nobody takes in a pause of work */
#endif
#ifdef BREAK_A3
#define A3(fact) true
#else
#define A3(fact) (fact)  /* nor in one of takeovers */
#endif
#ifdef BREAK_A4
#define A4(fact) true
#else
#define A4(fact) (fact)  /* what a node has read counts until it has read the end, by no clock of its own */
#endif
#ifdef BREAK_A5
#define A5(fact) false
#else
#define A5(fact) (fact)  /* the taking ends the switchover, in its own transaction */
#endif
#ifdef BREAK_A6
#define A6(fact) false
#else
#define A6(fact) (fact)  /* a node looks again when a switchover is due */
#endif
#ifdef BREAK_A7
#define A7(fact) true
#else
#define A7(fact) (fact)  /* a draining node takes nothing */
#endif
#ifdef BREAK_L1
#define L1(fact) true
#else
#define L1(fact) (fact)  /* released when nothing of the program is left */
#endif

#define NODES 3
#define NOBODY 3
#define NONE 0
#define WORK 1
#define TAKEOVERS 2
#define BIT(n) (1 << (n))
#define HAS(set, n) (((set) >> (n)) & 1)

#ifndef ASKS
#define ASKS 3                  /* of the administrator, each undone or not */
#endif

/* --- the database ------------------------------------------------------------------------------ */

byte pause = NONE;
bool pause_over = false;        /* its time is over by the server's clock, its end not recorded */
byte drained = 0;
bool handover = false;          /* a switchover is open */
bool due = false;
byte target = NOBODY;           /* NOBODY: any other than its holder */
byte mover = NOBODY;            /* who held the token when it was asked for */
byte holder = NOBODY;

/* --- the nodes --------------------------------------------------------------------------------- */

byte over = 0;                  /* whose session is over for themselves: nothing runs there */
byte knows_work = 0;            /* who has read a pause of work, its own drain, a switchover that is due */
byte knows_drain = 0;
byte knows_handover = 0;
byte given = 0;                 /* who gives up what it holds */
byte program = 0;

/* --- what is only there to be asserted --------------------------------------------------------- */

byte asks = ASKS;
byte handed = 0;                /* releases of the token since the switchover that is open was asked for */
bool calm = false;              /* from now on nothing fails and nobody asks */

#define LIVES(n) (!HAS(over, n))
#define FREE (holder == NOBODY || HAS(over, holder))
#define MAY_TAKE(n) (A2(pause != WORK || pause_over) && A3(pause != TAKEOVERS || pause_over) && \
    A7(!HAS(drained, n)))
#define NEWS(n) (HAS(knows_work, n) != (pause == WORK) || HAS(knows_drain, n) != HAS(drained, n) || \
    A6(HAS(knows_handover, n) != (handover && due)))
#define GIVES_UP(n) (HAS(knows_work, n) || HAS(knows_drain, n) || HAS(knows_handover, n))

#define SET(set, n, fact) set = ((fact) -> set | BIT(n) : set & ~BIT(n))

inline end_handover() {
    handover = false; due = false; target = NOBODY; mover = NOBODY; handed = 0;
}

inline read(n) {
    SET(knows_work, n, pause == WORK);
    SET(knows_drain, n, HAS(drained, n));
    SET(knows_handover, n, handover && due);
}

/* The former holder is over (followed), or has released. */
inline take(n) {
    assert(pause == NONE || pause_over);  /* in a pause nobody takes */
    assert(!HAS(drained, n));  /* who drains takes nothing */
    if
    :: A5(handover && due) && (holder == NOBODY || (target == NOBODY -> n != mover : n == target)) ->
        end_handover()
    :: else
    fi;
    given = given & ~BIT(n);
    holder = n
}

inline start(n) {
    assert((program & ~BIT(n)) == 0);  /* never two programs */
    assert(!(HAS(knows_work, n) && pause == WORK && !pause_over));  /* a pause of work starts nothing */
    program = program | BIT(n)
}

inline release(n) {
    if
    :: handover && due -> handed++; assert(handed <= 1)  /* a switchover moves the token once */
    :: else
    fi;
    holder = NOBODY
}

inline ask_handover(to) {
    asks--;
    handover = true;
    target = to;
    mover = (to == NOBODY -> holder : NOBODY)
}

inline rejoin(n) {
    if :: holder == n -> holder = NOBODY :: else fi;
    over = over & ~BIT(n); given = given & ~BIT(n);
    read(n)
}

active [NODES] proctype node() {
    byte n = _pid;
end:
    do
    /* a node looks, and does what it has read */
    :: atomic { LIVES(n) && NEWS(n) -> read(n) }
    :: atomic { LIVES(n) && holder == n && GIVES_UP(n) && !HAS(given, n) -> given = given | BIT(n) }
    :: atomic { LIVES(n) && HAS(given, n) && HAS(program, n) -> program = program & ~BIT(n) }
    :: atomic { LIVES(n) && holder == n && HAS(given, n) && L1(!HAS(program, n)) -> release(n) }
    :: atomic {
        LIVES(n) && holder == n && HAS(knows_handover, n) && handover && due &&
        (pause != NONE || (target != NOBODY && HAS(over | drained, target))) ->
            end_handover()  /* refused: something is in the way */
        }
    :: atomic { LIVES(n) && holder != n && A1(FREE) && MAY_TAKE(n) -> take(n) }
    :: atomic {
        LIVES(n) && holder == n && !HAS(given, n) && A4(!HAS(knows_work, n)) &&
        !HAS(knows_drain, n) && !HAS(program, n) -> start(n)
        }
    :: atomic { HAS(over, n) -> rejoin(n) }

    /* faults: its session is over; its program has crashed */
    :: atomic { LIVES(n) && !calm -> over = over | BIT(n); program = program & ~BIT(n) }
    :: atomic { LIVES(n) && !calm && HAS(program, n) -> program = program & ~BIT(n) }

    /* the administrator */
    :: atomic {
        asks && !calm && !HAS(drained, n) && (drained | BIT(n)) != 7 ->
            asks--;
            drained = drained | BIT(n)
        }
    :: atomic { !calm && HAS(drained, n) -> drained = drained & ~BIT(n) }
    :: atomic { asks && !calm && !handover && holder != NOBODY && holder != n -> ask_handover(n) }
    od
}

active proctype administrator() {
end:
    do
    :: atomic {
        asks && !calm && pause == NONE ->
            asks--;
            if :: pause = WORK :: pause = TAKEOVERS fi
        }
    :: atomic { !calm && pause != NONE -> pause = NONE; pause_over = false }
    :: atomic { !calm && pause != NONE && !pause_over -> pause_over = true }
    :: atomic { pause != NONE && pause_over -> pause = NONE; pause_over = false }  /* recorded */
    :: atomic { asks && !calm && !handover && holder != NOBODY -> ask_handover(NOBODY) }
    :: atomic { handover && !due -> due = true }
    :: atomic { handover && !calm -> end_handover() }  /* it is cancelled, or runs out */
    :: atomic { !calm -> calm = true }
    od
}

/* When nothing more can happen, everything that was asked for has come about. */
active proctype in_the_end() {
    timeout;
    assert(pause != NONE || program);  /* a program runs in the end */
    assert(pause != WORK || !program);  /* in a pause of work nothing runs in the end */
    assert(pause != TAKEOVERS || holder == NOBODY || program);  /* in one of takeovers the holder goes on */
    assert(holder == NOBODY || !HAS(drained, holder));  /* who drains holds nothing in the end */
    assert(!(handover && due) || pause);  /* a switchover that is due ends */
}
