/* The protocol of docs/protocol.md for two nodes and one token, small enough to be searched whole.
 *
 *     make model
 *
 * README.md, beside this file, says what is assumed, what is left out, and which rule each
 * assertion guards.
 *
 * Time is true time, in ticks. That clocks run at different rates shows in how long an interval
 * lasts: a lease is over after LEASE ticks at the latest, a wait after WAIT ticks at the earliest.
 * Nobody has to act but who has to kill; whatever is not forced may happen at any later moment or
 * never. So messages that are late or lost, and a node that is slow, paused or cut off, need no
 * words of their own.
 */

/* --- the rules, each of which can be broken: -DBREAK_T1 and so on ---------------------------- */

#ifdef BREAK_T1
#define T1(ticks) 0
#else
#define T1(ticks) (ticks)  /* W leaves room for killing */
#endif
#ifdef BREAK_T2
#define T2(age) 0
#else
#define T2(age) (age)  /* trust runs from the question, not from the answer */
#endif
#ifdef BREAK_T3
#define T3(fact) true
#else
#define T3(fact) (fact)  /* dead is dead: no answer revives a session */
#endif
#ifdef BREAK_T6
#define T6(frozen) !(frozen)
#else
#define T6(frozen) true  /* the clock counts while the machine is frozen */
#endif
#ifdef BREAK_O2
#define O2(ticks, none) (ticks)
#else
#define O2(ticks, none) (none)  /* any change of the holder's row starts the wait again */
#endif
#ifdef BREAK_R1
#define R1(fact) true
#else
#define R1(fact) (fact)  /* the beat that was seen still stands */
#endif
#ifdef BREAK_R2
#define R2(fact) true
#else
#define R2(fact) (fact)  /* the token is still as it was seen */
#endif
#ifdef BREAK_N1
#define N1(first) 0
#else
#define N1(first) (first)  /* each branch begins above all terms that were granted before */
#endif
#ifdef BREAK_N4
#define N4(fact) true
#else
#define N4(fact) (fact)  /* a term that was given up is not started again */
#endif
#ifdef BREAK_E1
#define E1(before, now) (before)
#else
#define E1(before, now) (now)  /* a promotion is seen by every answer */
#endif
#ifdef BREAK_E2
#define E2(fact) true
#else
#define E2(fact) (fact)  /* nobody acts on an identity that is not settled */
#endif
#ifdef BREAK_E3
#define E3(fact) true
#else
#define E3(fact) (fact)  /* an identity is settled by who has waited it out */
#endif
#ifdef BREAK_S2
#define S2(fact) true
#else
#define S2(fact) (fact)  /* the guardian looks at the deadline last */
#endif
#ifdef BREAK_L1
#define L1(fact) true
#else
#define L1(fact) (fact)  /* a token is released after the program's end */
#endif
#ifdef BREAK_L2
#define L2(fact) false
#else
#define L2(fact) (fact)  /* an answer without the token ends the program */
#endif
#ifdef BREAK_L3
#define L3(fact) true
#else
#define L3(fact) (fact)  /* a node joins after the program's end */
#endif
#ifdef BREAK_G1
#define G1(fact) false
#else
#define G1(fact) (fact)  /* the guardian kills at the deadline, whatever the agent does */
#endif
#ifdef BREAK_G7
#define G7(fact) false
#else
#define G7(fact) (fact)  /* the agent kills when the guardian is frozen */
#endif

/* --- words ----------------------------------------------------------------------------------- */

/* The longest that a lease lasts, and the shortest that a wait does: lease / (1 - r), W / (1 + r).
 * Between them is the bound on killing, s: one tick, in which a program outlives its deadline.
 * With a lease of 2 a standby would have to look so often that breaking R1 does no harm. */
#ifndef LEASE
#define LEASE 3
#endif
#define WAIT (LEASE + T1(1))

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
#define TERMS_BEFORE(identity) ((TIMELINE(identity) - 1) * TERMS_PER_TIMELINE)
#define MAY_ACT(identity) E2((identity) != NEW)

/* What an answer shows of the token. */
#define NOTHING 0               /* there is none, or it failed */
#define FREE 1
#define MINE 2
#define HELD 3                  /* by the other node's live session */
#define ENDED 4                 /* the node's own session was ended by the other */

/* The program, as its guardian knows it. */
#define ABSENT 0
#define ORDERED 1               /* the start waits in the channel, or the process to be let go */
#define RUNNING 2
#define UNGUARDED 3             /* it runs, and the guardian is frozen (SIGSTOP) */
#define FROZEN 4                /* it does not run, but is there: the whole machine is frozen */

typedef Node {
    /* The agent. Sessions are numbers, unique for their node; 0 is none. */
    unsigned session : 3;
    unsigned sessions : 3;      /* how many there have been */
    unsigned trust : 3;         /* ticks until trusted_until */
    bit asked;                  /* a beat or a take was carried out, its answer has not arrived */
    unsigned age : 3;           /* ticks since then */
    unsigned view : 3;          /* what the answer shows: the last one, or the one to arrive */
    unsigned view_term : 4;
    unsigned view_identity : 2;
    unsigned watched : 3;       /* ticks for which the holder's row has looked the same */
    bit same_beat;              /* it still does */
    unsigned given_up : 4;      /* the highest term that was given up or lost */
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
bit promoted;
unsigned identity : 2;
unsigned new_for : 3;           /* ticks since it became NEW */

/* A take that its agent no longer waits for, and the database may still carry out (E5). */
typedef Late {
    unsigned seen : 3;          /* the token when it was asked: FREE, HELD; NOTHING: no late take */
    bit by;
    unsigned session : 3;
    unsigned seen_term : 4;
    unsigned seen_identity : 2;
    bit same_beat               /* the holder's row still shows the beat that was seen */
};
Late late;

/* Only where liveness is searched: at some moment faults are over, but one node may be gone. */
#ifdef LIVENESS
bit calm;
unsigned calm_for : 3;          /* ticks since then */
unsigned gone : 2 = 2;          /* which node; 2: neither */
bit beaten[2];                  /* a beat in each tick is enough */
#define GONE(i) (gone == i)
#define CALM calm
#define MAY_BEAT_AGAIN(i) (!calm || !beaten[i])
#else
#define CALM false
#define GONE(i) false
#define MAY_BEAT_AGAIN(i) true
#endif

/* What is remembered only to be checked. */
unsigned issued : 4;            /* the highest term that was ever granted */
unsigned started : 4;           /* the highest term under which a program was ever started */

#define LIVE(i) ((i) == 0 -> rows.live0 : rows.live1)
#define IS_FREE (rows.held_by == 0 || rows.held_by != LIVE(rows.holder))
#define RUNS(i) (node[i].program == RUNNING || node[i].program == UNGUARDED)
#define TRUSTED(i) (node[i].session != 0 && T3(node[i].trust > 0))
#define AGENT_ACTS(i) (node[i].program != FROZEN && !GONE(i))
#define MAY_ASK(i) (AGENT_ACTS(i) && TRUSTED(i) && !node[i].asked)

/* --- the database: each of these is one transaction ------------------------------------------ */

inline write_live(i, its_session) {
    if
    :: i == 0 -> rows.live0 = its_session
    :: else -> rows.live1 = its_session
    fi
}

/* A compare-and-set. A term names one holding, so comparing it compares the session too. */
#define MAY_TAKE(i, mine, seen, seen_term, seen_identity, seen_beat) \
    (LIVE(i) == mine && TIMELINE(identity) == TIMELINE(seen_identity) && MAY_ACT(identity) \
     && (seen == HELD -> R2(rows.term == seen_term && !IS_FREE) && R1(seen_beat) \
                       : R2(rows.term == seen_term && IS_FREE)))

/* The search is over sooner when a take that is refused for ever is forgotten at once. */
#define HOPELESS(i, mine, seen, seen_term, seen_identity, seen_beat) \
    (LIVE(i) != mine || TIMELINE(identity) != TIMELINE(seen_identity) \
     || (seen == HELD -> !R2(rows.term == seen_term && !IS_FREE) || !R1(seen_beat) \
                       : !R2(rows.term == seen_term && IS_FREE)))

inline forget_late() {
    late.seen = NOTHING;
    late.by = 0;
    late.session = 0;
    late.seen_term = 0;
    late.seen_identity = 0;
    late.same_beat = 0
}

inline forget_hopeless_view(i) {
    if
    :: (node[i].view == FREE || node[i].view == HELD) &&
       HOPELESS(i, node[i].session, node[i].view, node[i].view_term, node[i].view_identity,
                node[i].same_beat) ->
        node[i].view = NOTHING;
        node[i].view_term = 0;
        node[i].view_identity = 0;
        node[i].watched = O2(node[i].watched, 0);
        node[i].same_beat = 0
    :: else
    fi
}

inline forget_hopeless() {
    forget_hopeless_view(0);
    forget_hopeless_view(1);
    if
    :: late.seen != NOTHING &&
       HOPELESS(late.by, late.session, late.seen, late.seen_term, late.seen_identity,
                late.same_beat) ->
        forget_late()
    :: else
    fi
}

/* Beats only rise, so all that matters of a beat once seen is whether the row still shows it. */
inline count_beat(i) {
    node[OTHER(i)].same_beat = 0;
    if
    :: late.by != i -> late.same_beat = 0
    :: else
    fi
}

/* What every answer shows, read in the same transaction. A node knows it when the answer arrives,
 * but the wait goes on or starts again from here (O2): sooner than really, so it ends sooner. */
inline look(i) {
    node[i].asked = 1;
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
    :: node[i].view != HELD -> node[i].watched = 0; node[i].same_beat = 0
    :: node[i].view == HELD && !node[i].same_beat ->
        node[i].watched = O2(node[i].watched, 0);
        node[i].same_beat = 1
    :: else
    fi
}

inline join(i) {
    node[i].sessions = node[i].sessions + 1;
    node[i].session = node[i].sessions;
    node[i].trust = LEASE;
    write_live(i, node[i].session);
    count_beat(i);
    forget_hopeless()
}

inline leave(i) {
    write_live(i, 0);
    forget_hopeless()
}

/* Believe nothing after a failure: no view. The wait goes on if the next look shows the same (O3). */
inline fail(i) {
    node[i].asked = 0;
    node[i].age = 0;
    node[i].view = NOTHING;
    node[i].view_term = 0;
    node[i].view_identity = 0
}

inline forget_view(i) {
    fail(i);
    node[i].watched = 0;
    node[i].same_beat = 0
}

inline beat(i) {
    if
    :: LIVE(i) == node[i].session -> count_beat(i); look(i); forget_hopeless()
    :: else -> forget_view(i); node[i].asked = 1; node[i].view = ENDED
    fi
}

inline take(i, mine, taken_from) {
    if
    :: taken_from == HELD -> write_live(OTHER(i), 0)
    :: else
    fi;
    rows.holder = i;
    rows.held_by = mine;
    rows.term = MAX(rows.term, N1(TERMS_BEFORE(identity))) + 1;
    assert(rows.term > issued);  /* Register: no term is granted twice, and they rise */
    issued = rows.term;
    count_beat(i)
}

inline settle() {
    identity = SETTLED;
    new_for = 0
}

/* What has no answer: a late take, and a release, which is asked for when the program has ended. */
#define RELEASE_ASKED \
    (rows.held_by != 0 && rows.term <= node[rows.holder].given_up \
     && L1(node[rows.holder].term != rows.term))

inline database() {
    if
    :: d_step {
        late.seen != NOTHING &&
        MAY_TAKE(late.by, late.session, late.seen, late.seen_term, late.seen_identity,
                 late.same_beat) ->
        take(late.by, late.session, late.seen);
        forget_late();
        forget_hopeless()
    }
    :: d_step { late.seen != NOTHING -> forget_late() }
    :: d_step { RELEASE_ASKED -> rows.held_by = 0; forget_hopeless() }
    fi
}

/* --- the agent ------------------------------------------------------------------------------- */

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
    node[i].trust = MAX(node[i].trust, LEASE - T2(node[i].age));
    node[i].asked = 0;
    node[i].age = 0;
    if
    :: node[i].program == ABSENT
    :: node[i].program != ABSENT ->
        if
        :: L2(node[i].view != MINE || node[i].view_term != node[i].term) -> give_up(i)
        :: else ->
            if
            :: node[i].deadline > 0 && node[i].given_up < node[i].term ->  /* G2 */
                node[i].deadline = MAX(node[i].deadline, node[i].trust)
            :: else
            fi
        fi
    fi
}

#define ROOM_FOR_A_SESSION(i) (node[i].sessions < SESSIONS + CALM)
#define ROOM_FOR_A_TERM (rows.term - TERMS_BEFORE(identity) < TERMS + 2 * CALM)
/* The nodes are alike, so let the one that takes first be called 0. */
#define NAMED_RIGHT(i) (issued > 0 || i == 0 || CALM)
#define HAS_NO_SESSION(i) \
    (AGENT_ACTS(i) && node[i].session == 0 && L3(node[i].program == ABSENT))
#define MAY_JOIN(i) (HAS_NO_SESSION(i) && ROOM_FOR_A_SESSION(i))
#define MAY_BEAT(i) (MAY_ASK(i) && MAY_BEAT_AGAIN(i))
#define WANTS_TOKEN(i) \
    (MAY_ASK(i) && node[i].program == ABSENT && MAY_ACT(node[i].view_identity) \
     && (node[i].view == FREE || node[i].view == HELD && node[i].watched == WAIT) \
     && ROOM_FOR_A_TERM && NAMED_RIGHT(i))
#define HAS_ANSWER(i) (AGENT_ACTS(i) && TRUSTED(i) && node[i].asked)
#define MAY_START(i)  /* S1 */ \
    (MAY_ASK(i) && node[i].trust > 0 && node[i].program == ABSENT \
     && node[i].view == MINE && N4(node[i].view_term > node[i].given_up) \
     && MAY_ACT(node[i].view_identity))
#define MAY_SETTLE(i) \
    (AGENT_ACTS(i) && identity == NEW && E3(new_for == WAIT))

inline agent(i) {
    if
    /* A fresh session in the node's own row, when the program is surely dead. What that row still
     * shows is a session of its own: the last one, or a namesake that was waited out. */
    :: d_step { MAY_JOIN(i) -> join(i) }
    /* The same for a session that nobody follows: a dead agent's, or one of a life before (G5). */
    :: d_step { HAS_NO_SESSION(i) && LIVE(i) != 0 && !CALM -> leave(i) }
    :: d_step { MAY_BEAT(i) -> beat(i); note_beat(i) }
#ifdef BREAK_E5
    :: d_step {  /* no answer is taken for a good one */
        MAY_ASK(i) ->
        node[i].trust = LEASE;
        node[i].deadline = (node[i].deadline > 0 -> LEASE : 0)
    }
#endif
    :: d_step {
        WANTS_TOKEN(i) ->
        if
        :: MAY_TAKE(i, node[i].session, node[i].view, node[i].view_term, node[i].view_identity,
                    node[i].same_beat) ->
            take(i, node[i].session, node[i].view);
            look(i);
            forget_hopeless()
        :: else -> forget_view(i)
        fi
    }
    :: d_step {  /* the question is on its way when the agent stops waiting for it */
        WANTS_TOKEN(i) && late.seen == NOTHING && !CALM ->
        late.by = i;
        late.seen = node[i].view;
        late.session = node[i].session;
        late.seen_term = node[i].view_term;
        late.seen_identity = node[i].view_identity;
        late.same_beat = node[i].same_beat;
        fail(i);
        forget_hopeless()
    }
    :: d_step {  /* unknown: the question was lost, or its answer */
        AGENT_ACTS(i) && node[i].session != 0 && (node[i].asked || node[i].view != NOTHING) &&
        !CALM ->
        fail(i)
    }
    :: d_step {
        HAS_ANSWER(i) ->
        if
        :: node[i].view == ENDED -> end_session(i)
        :: else -> absorb_answer(i)
        fi
    }
    /* The session is over for its own node; a fast clock, or a slow question, says so sooner. */
    :: d_step { AGENT_ACTS(i) && node[i].session != 0 && (!CALM || node[i].trust == 0) ->
        end_session(i)
    }
    :: d_step {
        MAY_START(i) ->
        assert(node[i].view_identity != NEW);  /* E2: no start on an unsettled identity */
        node[i].program = ORDERED;
        node[i].term = node[i].view_term;
        node[i].deadline = node[i].trust
    }
    :: d_step {  /* stop the program, for whatever reason */
        AGENT_ACTS(i) && node[i].program != ABSENT && node[i].given_up < node[i].term && !CALM ->
        give_up(i)
    }
    :: d_step { MAY_SETTLE(i) -> settle() }
    /* A guardian that does not echo is killed with its program, and another one started. */
    :: d_step { G7(node[i].program == UNGUARDED) -> bury_program(i) }
    fi
}

/* --- the guardian ---------------------------------------------------------------------------- */

inline guardian(i) {
    if
    :: d_step {
        node[i].program == ORDERED && S2(node[i].deadline > 0) ->  /* G3 */
        node[i].program = RUNNING;
        assert(!RUNS(OTHER(i)));  /* Time: never two programs */
        assert(node[i].term >= started);  /* no older holding after a newer one */
        started = node[i].term
    }
    /* Refused, stopped, killed, or at the deadline (G1): the term is given up. */
    :: d_step {
        (node[i].program == ORDERED || node[i].program == RUNNING) &&
        (!CALM || node[i].deadline == 0 || node[i].given_up >= node[i].term) ->
        bury_program(i)
    }
    /* It ended by itself, and may be started again under the same term. */
    :: d_step {
        node[i].program == RUNNING && node[i].deadline > 0 && node[i].given_up < node[i].term &&
        !CALM ->
        node[i].program = ABSENT;
        node[i].term = 0;
        node[i].deadline = 0
    }
    fi
}

/* --- what goes wrong ------------------------------------------------------------------------- */

inline faults(i) {
    if
    /* The agent dies: its spare knows the session, and nothing else (G5). */
    :: d_step {
        node[i].session != 0 && node[i].program <= RUNNING && !CALM ->
        end_session(i)
    }
    /* The machine dies. */
    :: d_step {
        node[i].program > RUNNING ->
        end_session(i);
        bury_program(i)
    }
    /* Somebody is stopped, and goes on. An agent that is stopped does nothing: it needs no word. */
    :: d_step { node[i].program == RUNNING && !CALM -> node[i].program = UNGUARDED }
    :: d_step { node[i].program == RUNNING && !CALM -> node[i].program = FROZEN }
    :: d_step { node[i].program == UNGUARDED -> node[i].program = RUNNING }
    /* A machine that wakes up kills what is overdue before that does anything (T6). */
    :: d_step { node[i].program == FROZEN && node[i].deadline == 0 -> bury_program(i) }
    :: d_step {
        node[i].program == FROZEN && node[i].deadline > 0 ->
        node[i].program = RUNNING;
        assert(!RUNS(OTHER(i)))
    }
    fi
}

inline copy_rows(from, to) {
    to.term = from.term;
    to.holder = from.holder;
    to.held_by = from.held_by;
    to.live0 = from.live0;
    to.live1 = from.live1
}

/* The standby falls behind once, and is promoted once, without what came after (E1). */
inline failover() {
    if
    :: d_step { !lags && !promoted && !CALM -> copy_rows(rows, replica); lags = 1 }
    :: d_step {
        lags && !CALM ->
        copy_rows(replica, rows);
        replica.term = 0;
        replica.holder = 0;
        replica.held_by = 0;
        replica.live0 = 0;
        replica.live1 = 0;
        lags = 0;
        promoted = 1;
        identity = E1(identity, NEW);
        node[0].same_beat = 0;
        node[1].same_beat = 0;
        forget_hopeless()
    }
    fi
}

/* --- time ------------------------------------------------------------------------------------ */

/* Time waits for nobody but who has to kill: the guardian at its deadline, or the agent when the
 * guardian is frozen. Not both of them are ever frozen while the program is not. */
#define KILL_DUE(i) \
    (node[i].deadline == 0 \
     && (G1(node[i].program == RUNNING) || G7(node[i].program == UNGUARDED)))

#define LESS(ticks) ticks = (ticks > 0 -> ticks - 1 : 0)
#define MORE(ticks, limit) ticks = (ticks < limit -> ticks + 1 : ticks)

inline pass(i) {
    if
    :: T6(node[i].program == FROZEN) -> LESS(node[i].trust); LESS(node[i].deadline)
    :: else
    fi;
    if
    :: node[i].asked -> MORE(node[i].age, LEASE)
    :: else
    fi;
    if
    :: node[i].view == HELD || node[i].same_beat -> MORE(node[i].watched, WAIT)
    :: else
    fi
}

inline pass_epoch() {
    if
    :: identity == NEW -> MORE(new_for, WAIT)
    :: else
    fi
}

#ifdef LIVENESS
#ifndef CALM_MAX
#define CALM_MAX (WAIT + 1)
#endif
#define DUE(i) \
    (MAY_JOIN(i) || MAY_BEAT(i) || WANTS_TOKEN(i) || HAS_ANSWER(i) || MAY_START(i) \
     || MAY_SETTLE(i) || node[i].program == ORDERED \
     || node[i].program == RUNNING && node[i].given_up >= node[i].term \
     || node[i].session != 0 && node[i].trust == 0)
#define OTHERS_DUE (calm && (DUE(0) || DUE(1) || RELEASE_ASKED))

inline note_beat(i) {
    beaten[i] = calm
}

/* Who has something to do does it at once; then a program runs soon, and never stops again. */
inline pass_calm() {
    beaten[0] = 0;
    beaten[1] = 0;
    calm_for = (calm && calm_for <= CALM_MAX -> calm_for + 1 : calm_for);
    assert(calm_for <= CALM_MAX || RUNS(0) || RUNS(1))
}

inline leave_for_good(i) {
    end_session(i);
    bury_program(i);
    gone = i
}

#define MAY_CALM_DOWN \
    (!calm && late.seen == NOTHING && node[0].program <= RUNNING && node[1].program <= RUNNING)

inline calm_down() {
    if
    :: d_step { MAY_CALM_DOWN -> calm = 1; new_for = 0 }
    :: d_step { MAY_CALM_DOWN -> calm = 1; new_for = 0; leave_for_good(0) }
    :: d_step { MAY_CALM_DOWN -> calm = 1; new_for = 0; leave_for_good(1) }
    fi
}
#else
#define OTHERS_DUE false

inline note_beat(i) {
    skip
}

inline pass_calm() {
    skip
}
#endif

inline clock() {
    if
    :: d_step { !KILL_DUE(0) && !KILL_DUE(1) && !OTHERS_DUE ->
        pass(0);
        pass(1);
        pass_epoch();
        pass_calm()
    }
    fi
}

/* One loop instead of a process for each: they share everything, and a state is half as large. */
active proctype world() {
    do
    :: database()
    :: agent(0) :: guardian(0) :: faults(0)
    :: agent(1) :: guardian(1) :: faults(1)
    :: failover()
    :: clock()
#ifdef LIVENESS
    :: calm_down()
#endif
    od
}
