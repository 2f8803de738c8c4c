/* The protocol of docs/protocol.md for two nodes and one token, small enough to be searched whole.
 *
 *     make model
 *
 * README.md, beside this file, says what is assumed, what is left out, and which rule each
 * assertion guards. -DBREAK_... breaks one rule, and the search must then find an error.
 *
 * Time is true time, in ticks. That clocks run at different rates shows in how long an interval
 * lasts: a lease ends after LEASE_FAST ticks at the earliest and LEASE ticks at the latest, a wait
 * is over after WAIT ticks at the earliest, and nobody has to act on it. Whatever is not forced may
 * happen at any later moment or never: messages that are late or lost, and a node that is slow,
 * paused or cut off, need no words of their own.
 */

/* --- the rules that a search may break: -DBREAK_T1 and so on ----------------------------------- */

#ifdef BREAK_T1
#define T1(ticks) 0
#else
#define T1(ticks) (ticks)  /* W leaves room for killing */
#endif
#ifdef BREAK_T2
#define T2(age) 0
#else
#define T2(age) (age)  /* trust runs from the question */
#endif
#ifdef BREAK_T3
#define T3(fact) true
#else
#define T3(fact) (fact)  /* dead is dead */
#endif
#ifdef BREAK_R1
#define R1(fact) true
#else
#define R1(fact) (fact)  /* the seen beat still stands */
#endif
#ifdef BREAK_R2
#define R2(fact) true
#else
#define R2(fact) (fact)  /* the token is as it was seen */
#endif
#ifdef BREAK_N1
#define N1(first) 0
#else
#define N1(first) (first)  /* a timeline has terms of its own */
#endif
#ifdef BREAK_E2
#define E2(fact) true
#else
#define E2(fact) (fact)  /* nobody acts on what is not settled */
#endif
#ifdef BREAK_E3
#define E3(fact) true
#else
#define E3(fact) (fact)  /* a new identity is waited out */
#endif
#ifdef BREAK_S2
#define S2(fact) true
#else
#define S2(fact) (fact)  /* the guardian looks at the deadline last */
#endif
#ifdef BREAK_L1
#define L1(fact) true
#else
#define L1(fact) (fact)  /* released after the end */
#endif
#ifdef BREAK_L3
#define L3(fact) true
#else
#define L3(fact) (fact)  /* joined after the end */
#endif
#ifdef BREAK_G1
#define G1(fact) false
#else
#define G1(fact) (fact)  /* the guardian kills at the deadline */
#endif
#ifdef BREAK_G7
#define G7(fact) false
#else
#define G7(fact) (fact)  /* the agent kills when the guardian is frozen */
#endif

/* --- words -------------------------------------------------------------------------------------- */

#ifndef LEASE
#define LEASE 2                 /* lease / (1 - r), in ticks */
#endif
#define LEASE_FAST (LEASE - 1)  /* lease / (1 + r) */
/* The bound on killing, s, is one tick: the one in which a program may outlive its deadline. */
#define WAIT (LEASE + T1(1))    /* W / (1 + r) */

/* The bounds of the search; everything else is as often as it likes. */
#ifndef SESSIONS
#define SESSIONS 2              /* of each node */
#endif
#ifndef TERMS
#define TERMS 2                 /* on each timeline */
#endif
#define TERMS_PER_TIMELINE 4    /* stands for 10^9 */

#define OTHER(i) (1 - (i))
#define MAX(a, b) ((a) > (b) -> (a) : (b))

/* Which history of the database it is (E1). */
#define FIRST 0                 /* timeline 1, settled from the start (E3) */
#define NEW 1                   /* timeline 2, not settled */
#define SETTLED 2               /* timeline 2, settled */
#define TIMELINE(identity) ((identity) == FIRST -> 1 : 2)
#define MAY_ACT(identity) E2((identity) != NEW)

/* What a node knows of the token. */
#define NOTHING 0               /* after a failure, and while a beat is out */
#define FREE 1
#define MINE 2
#define HELD 3                  /* by the other node's live session */
#define ENDED 4                 /* its own session was ended by the other */

/* The request under way; there is never more than one. */
#define NONE 0
#define BEAT 1
#define TAKE 2
#define ANSWERED 3

/* The program, as its guardian knows it. */
#define ABSENT 0
#define ORDERED 1               /* the start waits in the channel, or the process to be let go */
#define RUNNING 2
#define UNGUARDED 3             /* it runs, and the guardian is frozen (SIGSTOP) */
#define FROZEN 4                /* it does not run, but is there: the whole machine is frozen */

#define OFF 7                   /* no watch is kept */

typedef Node {
    /* The agent. Sessions are numbers, unique for their node; 0 is none. */
    unsigned session : 3;
    unsigned sessions : 3;      /* how many there have been */
    unsigned trust : 3;         /* ticks until trusted_until */
    unsigned asked : 2;
    unsigned age : 3;           /* ticks since it was asked */
    unsigned view : 3;
    unsigned view_term : 4;
    unsigned view_identity : 2;
    unsigned watched : 3;       /* ticks for which the holder has looked the same, or OFF */
    bit same_beat;              /* the row still shows the beat that is watched */
    bit moved;                  /* timeline 2 was seen ... */
    unsigned waited : 3;        /* ... and so many ticks have passed since */
    unsigned given_up : 4;      /* the highest term that was given up or lost */
    /* A take that the agent no longer waits for, but the database may still carry out. */
    unsigned late : 3;          /* as what the token was seen: FREE or HELD; NOTHING: there is none */
    unsigned late_session : 3;
    unsigned late_term : 4;
    unsigned late_identity : 2;
    bit late_beat;              /* the row still shows the beat that was seen */
    /* The guardian. */
    unsigned program : 3;
    unsigned term : 4;          /* under which the program was ordered; 0 when ABSENT */
    unsigned deadline : 3       /* ticks until it must be dead */
};
Node node[2];

typedef Rows {
    unsigned term : 4;
    bit holder;
    unsigned held_by : 3;       /* the holder's session; 0: released */
    unsigned live0 : 3;         /* the live session of node 0; 0: ended, or never had one */
    unsigned live1 : 3
};
Rows rows;                      /* of the primary */
Rows replica;                   /* of its standby, from the moment at which that one lags */
bit lags;
unsigned identity : 2;

/* What is remembered only to be checked. */
unsigned issued : 4;            /* the highest term that was ever granted */
unsigned started : 4;           /* the highest term under which a program was ever started */

#define LIVE(i) ((i) == 0 -> rows.live0 : rows.live1)
#define IS_FREE (rows.held_by == 0 || rows.held_by != LIVE(rows.holder))
#define RUNS(i) (node[i].program == RUNNING || node[i].program == UNGUARDED)

/* --- the database: every action is one transaction, at any time after it was asked for ------- */

inline write_live(i, its_session) {
    if
    :: i == 0 -> rows.live0 = its_session
    :: else -> rows.live1 = its_session
    fi
}

/* Beats only rise, so all that matters of a beat once seen is whether the row still shows it. */
inline count_beat(i) {
    node[OTHER(i)].same_beat = 0;
    node[OTHER(i)].late_beat = 0
}

/* Answer node i with what the token's row shows in the same transaction. */
inline look(i) {
    node[i].asked = ANSWERED;
    node[i].view_term = rows.term;
    node[i].view_identity = identity;
    if
    :: rows.holder == i && rows.held_by == node[i].session -> node[i].view = MINE
    :: else ->
        if
        :: IS_FREE -> node[i].view = FREE
        :: else -> node[i].view = HELD
        fi
    fi;
    if
    :: node[i].view == HELD && node[i].same_beat  /* O2: nothing changed, the wait goes on */
    :: node[i].view == HELD && !node[i].same_beat -> node[i].watched = OFF; node[i].same_beat = 1
    :: node[i].view != HELD -> node[i].watched = OFF; node[i].same_beat = 0
    fi
}

inline write_beat(i) {
    if
    :: LIVE(i) == node[i].session -> count_beat(i); look(i)
    :: else -> node[i].asked = ANSWERED; node[i].view = ENDED
    fi
}

/* A compare-and-set. A term names one holding, so comparing it compares the session too. */
#define MAY_TAKE(i, mine, seen, seen_term, seen_identity, seen_beat) \
    (LIVE(i) == mine && TIMELINE(identity) == TIMELINE(seen_identity) && MAY_ACT(identity) \
     && (seen == HELD -> R2(rows.term == seen_term && !IS_FREE) && R1(seen_beat) \
                       : R2(rows.term == seen_term && IS_FREE)))

inline write_take(i, mine, seen) {
    if
    :: seen == HELD -> write_live(OTHER(i), 0)
    :: else
    fi;
    rows.holder = i;
    rows.held_by = mine;
    rows.term = MAX(rows.term, N1((TIMELINE(identity) - 1) * TERMS_PER_TIMELINE)) + 1;
    assert(rows.term > issued);  /* Register: no term is granted twice, and they rise */
    issued = rows.term;
    count_beat(i)
}

inline forget_late(i) {
    node[i].late = NOTHING;
    node[i].late_session = 0;
    node[i].late_term = 0;
    node[i].late_identity = 0;
    node[i].late_beat = 0
}

proctype Database(bit i) {
    do
    :: d_step { node[i].asked == BEAT -> write_beat(i) }
    :: d_step {
        node[i].asked == TAKE ->
        if
        :: MAY_TAKE(i, node[i].session, node[i].view, node[i].view_term, node[i].view_identity,
                    node[i].same_beat) ->
            write_take(i, node[i].session, node[i].view);
            look(i)
        :: else -> node[i].asked = ANSWERED; node[i].view = NOTHING
        fi
    }
    :: d_step {
        node[i].late != NOTHING ->
        if
        :: MAY_TAKE(i, node[i].late_session, node[i].late, node[i].late_term,
                    node[i].late_identity, node[i].late_beat) ->
            write_take(i, node[i].late_session, node[i].late)
        :: else
        fi;
        forget_late(i)
    }
    /* A release is asked for when the program of a term that was given up has ended (L1). */
    :: d_step {
        rows.holder == i && rows.held_by != 0 && rows.term <= node[i].given_up &&
        L1(node[i].term != rows.term) ->
        rows.held_by = 0
    }
    od
}

/* --- the agent ------------------------------------------------------------------------------- */

/* Believe nothing after a failure: no view, and the wait starts again (O3). */
inline forget_view(i) {
    node[i].asked = NONE;
    node[i].age = 0;
    node[i].view = NOTHING;
    node[i].view_term = 0;
    node[i].view_identity = 0;
    node[i].watched = OFF;
    node[i].same_beat = 0
}

inline note_identity(i, its_identity) {
    if
    :: its_identity != FIRST && !node[i].moved -> node[i].moved = 1; node[i].waited = 0
    :: else
    fi
}

/* The program shall end; it is not extended any more, nor its term started again (N4). */
inline give_up(i) {
    node[i].given_up = MAX(node[i].given_up, node[i].term)
}

/* A session that is over cannot start its terms again, so they need not be remembered. */
inline forget_given_up(i) {
    if
    :: node[i].session == 0 && node[i].program == ABSENT -> node[i].given_up = 0
    :: else
    fi
}

inline bury_program(i) {
    give_up(i);
    node[i].program = ABSENT;
    node[i].term = 0;
    node[i].deadline = 0;
    forget_given_up(i)
}

inline end_session(i) {
    give_up(i);
    node[i].session = 0;
    node[i].trust = 0;
    forget_view(i);
    forget_given_up(i)
}

inline absorb_answer(i) {
    note_identity(i, node[i].view_identity);
    if
    :: node[i].view == NOTHING  /* a take that was not done renews nothing */
    :: else ->
        node[i].trust = MAX(node[i].trust, LEASE - T2(node[i].age))
    fi;
    if
    :: node[i].program == ABSENT
    :: node[i].program != ABSENT ->
        if
        :: node[i].view == MINE && node[i].view_term == node[i].term ->
            if
            :: node[i].deadline > 0 && node[i].given_up < node[i].term ->  /* G2 */
                node[i].deadline = MAX(node[i].deadline, node[i].trust)
            :: else
            fi
        :: node[i].view == NOTHING
        :: else -> give_up(i)  /* L2 */
        fi
    fi;
    if
    :: node[i].view == HELD && node[i].watched == OFF -> node[i].watched = 0  /* O1: at arrival */
    :: else
    fi;
    node[i].asked = NONE;
    node[i].age = 0
}

#define AGENT_ACTS(i) (node[i].program != FROZEN)
#define TRUSTED(i) (node[i].session != 0 && T3(node[i].trust > 0))
#define IDLE(i) (TRUSTED(i) && node[i].asked == NONE)
#define ROOM_FOR_A_TERM (rows.term % TERMS_PER_TIMELINE < TERMS)
/* The nodes are alike: let the one that takes first be called 0. */
#define NAMED_RIGHT(i) (issued > 0 || i == 0)

proctype Agent(bit i) {
    do
    /* Join with a fresh session, when the program is surely dead (L3). The node's own row has
     * whatever session of its own: the last one, or one of a life before that was waited out. */
    :: d_step {
        AGENT_ACTS(i) && node[i].session == 0 && node[i].sessions < SESSIONS &&
        L3(node[i].program == ABSENT) ->
        node[i].sessions = node[i].sessions + 1;
        node[i].session = node[i].sessions;
        node[i].trust = LEASE;
        write_live(i, node[i].session);
        count_beat(i);
        note_identity(i, identity)
    }
    :: d_step { AGENT_ACTS(i) && IDLE(i) ->
        node[i].asked = BEAT;
        node[i].view = NOTHING;
        node[i].view_term = 0;
        node[i].view_identity = 0
    }
    :: d_step {
        AGENT_ACTS(i) && IDLE(i) && node[i].program == ABSENT &&
        (node[i].view == FREE || node[i].view == HELD && node[i].watched == WAIT) &&
        MAY_ACT(node[i].view_identity) && ROOM_FOR_A_TERM && NAMED_RIGHT(i) ->
        node[i].asked = TAKE
    }
    :: d_step {
        AGENT_ACTS(i) && node[i].asked == ANSWERED && TRUSTED(i) ->
        if
        :: node[i].view == ENDED -> end_session(i)
        :: else -> absorb_answer(i)
        fi
    }
    /* No answer in time: the question may be lost, the answer too, or a take comes late (E5). */
    :: d_step { AGENT_ACTS(i) && node[i].asked != NONE -> forget_view(i) }
    :: d_step {
        AGENT_ACTS(i) && node[i].asked == TAKE && node[i].late == NOTHING ->
        node[i].late = node[i].view;
        node[i].late_session = node[i].session;
        node[i].late_term = node[i].view_term;
        node[i].late_identity = node[i].view_identity;
        node[i].late_beat = node[i].same_beat;
        forget_view(i)
    }
    :: d_step {
        AGENT_ACTS(i) && node[i].session != 0 && node[i].trust <= LEASE - LEASE_FAST ->
        end_session(i)
    }
    :: d_step {
        AGENT_ACTS(i) && IDLE(i) && node[i].trust > 0 && node[i].program == ABSENT &&
        node[i].view == MINE && node[i].view_term > node[i].given_up &&
        MAY_ACT(node[i].view_identity) ->  /* S1 */
        assert(node[i].view_identity != NEW);
        node[i].program = ORDERED;
        node[i].term = node[i].view_term;
        node[i].deadline = node[i].trust
    }
    /* Stop the program for whatever reason. */
    :: d_step {
        AGENT_ACTS(i) && node[i].program != ABSENT && node[i].given_up < node[i].term ->
        give_up(i)
    }
    :: d_step {
        AGENT_ACTS(i) && identity == NEW && node[i].moved &&
        E3(node[i].waited == WAIT) ->
        identity = SETTLED  /* E3 */
    }
    /* A guardian that does not echo is killed with its program, and another one started. */
    :: d_step {
        G7(node[i].program == UNGUARDED) -> bury_program(i)
    }
    od
}

/* --- the guardian ---------------------------------------------------------------------------- */

proctype Guardian(bit i) {
    do
    :: d_step {
        node[i].program == ORDERED &&
        S2(node[i].deadline > 0) ->  /* G3 */
        node[i].program = RUNNING;
        assert(!RUNS(OTHER(i)));  /* Time: never two programs */
        assert(node[i].term >= started);
        started = node[i].term
    }
    /* Refused, stopped, killed, or at the deadline (G1): the term is given up. */
    :: d_step { node[i].program == ORDERED || node[i].program == RUNNING -> bury_program(i) }
    /* It ended by itself, and may be started again under the same term. */
    :: d_step {
        node[i].program == RUNNING && node[i].deadline > 0 &&
        node[i].given_up < node[i].term ->
        node[i].program = ABSENT;
        node[i].term = 0;
        node[i].deadline = 0
    }
    od
}

/* --- what goes wrong ------------------------------------------------------------------------- */

proctype Faults(bit i) {
    do
    /* The agent dies: its spare knows the session, and nothing else (G5). */
    :: d_step {
        node[i].session != 0 && node[i].program <= RUNNING ->
        end_session(i);
        node[i].moved = 0;
        node[i].waited = 0
    }
    /* The machine dies, in whatever state. */
    :: d_step {
        node[i].session != 0 && node[i].program > RUNNING ->
        end_session(i);
        bury_program(i);
        node[i].moved = 0;
        node[i].waited = 0
    }
    /* Somebody is stopped, and goes on. An agent that is stopped does nothing: it needs no word. */
    :: d_step { node[i].program == RUNNING -> node[i].program = UNGUARDED }
    :: d_step { node[i].program == RUNNING -> node[i].program = FROZEN }
    :: d_step { node[i].program == UNGUARDED -> node[i].program = RUNNING }
    /* A machine that wakes up kills what is overdue before that does anything (T6). */
    :: d_step { node[i].program == FROZEN && node[i].deadline == 0 -> bury_program(i) }
    :: d_step {
        node[i].program == FROZEN && node[i].deadline > 0 ->
        node[i].program = RUNNING;
        assert(!RUNS(OTHER(i)))
    }
    od
}

inline copy_rows(from, to) {
    to.term = from.term;
    to.holder = from.holder;
    to.held_by = from.held_by;
    to.live0 = from.live0;
    to.live1 = from.live1
}

/* The standby falls behind once, and is promoted once, without what came after. */
proctype Failover() {
    d_step { copy_rows(rows, replica); lags = 1 };
    d_step {
        copy_rows(replica, rows);
        replica.term = 0; replica.holder = 0; replica.held_by = 0;
        replica.live0 = 0; replica.live1 = 0;
        identity = NEW;
        lags = 0;
        node[0].same_beat = 0; node[0].late_beat = 0;
        node[1].same_beat = 0; node[1].late_beat = 0
    }
}

/* --- time ------------------------------------------------------------------------------------ */

/* Time waits for nobody but the one who has to kill: the guardian at its deadline, and beside it
 * the agent, its second belt (G1, G7). Not both of them are ever frozen while the program is not. */
#define KILL_DUE(i) \
    (node[i].deadline == 0 && \
     (G1(node[i].program == RUNNING) || G7(node[i].program == UNGUARDED)))

#define LESS(ticks) ticks = (ticks > 0 -> ticks - 1 : 0)
#define MORE(ticks, limit) ticks = (ticks < limit -> ticks + 1 : ticks)

inline pass(i) {
    LESS(node[i].trust);
    LESS(node[i].deadline);
    if
    :: node[i].asked != NONE -> MORE(node[i].age, LEASE)
    :: else
    fi;
    MORE(node[i].watched, WAIT);
    if
    :: node[i].moved -> MORE(node[i].waited, WAIT)
    :: else
    fi
}

proctype Clock() {
    do
    :: d_step { !KILL_DUE(0) && !KILL_DUE(1) -> pass(0); pass(1) }
    od
}

init {
    atomic {
        node[0].watched = OFF;
        node[1].watched = OFF;
        run Database(0); run Agent(0); run Guardian(0); run Faults(0);
        run Database(1); run Agent(1); run Guardian(1); run Faults(1);
        run Failover(); run Clock()
    }
}
